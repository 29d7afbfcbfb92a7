/**
 * The feature flags of a send stream, by their bit in drr_versioninfo (OpenZFS, include/sys/zfs_ioctl.h). A flag says that
 * the stream holds something that older receivers do not understand.
 */
const FEATURES = {
  0: 'dedup',
  1: 'dedup-properties',
  2: 'spill',
  16: 'embedded-data',
  17: 'lz4',
  19: 'large-blocks',
  20: 'resuming',
  21: 'redacted',
  22: 'compressed',
  23: 'large-dnode',
  24: 'raw',
  25: 'zstd',
  26: 'holds',
  27: 'switch-to-large-blocks',
  28: 'long-name',
  29: 'large-microzap',
} as const;

export type StreamFeature = (typeof FEATURES)[keyof typeof FEATURES];

/** The names of the flags that are set, and the bits that this program has no name for. */
export function decodeFeatures(flags: number): { features: Set<StreamFeature>; unknown: number[] } {
  const features = new Set<StreamFeature>();
  const unknown: number[] = [];
  const names: Readonly<Partial<Record<number, StreamFeature>>> = FEATURES;
  for (let bit = 0; bit < 30; bit++) {
    if (((flags >>> bit) & 1) === 0) continue;
    const name = names[bit];
    if (name === undefined) unknown.push(bit);
    else features.add(name);
  }
  return { features, unknown };
}
