/** Which packs are read back: all, a fixed part of them in turn, or a random share, by count or by bytes. */
export type Subset =
  | { readonly kind: 'all' }
  | { readonly kind: 'part'; readonly part: number; readonly of: number }
  | { readonly kind: 'percent'; readonly percent: number }
  | { readonly kind: 'bytes'; readonly bytes: number };

const POWERS: Record<string, number> = { '': 0, k: 1, m: 2, g: 3, t: 4 };

/** Reads restic's `--read-data-subset`: `2/7`, `2.5%`, `500M`. Throws RangeError. */
export function parseSubset(text: string): Subset {
  const part = /^(\d+)\/(\d+)$/.exec(text);
  if (part !== null) {
    const [n, of] = [Number(part[1]), Number(part[2])];
    if (n >= 1 && n <= of && of <= 256) return { kind: 'part', part: n, of };
  }
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text);
  if (percent !== null) {
    const share = Number(percent[1]);
    if (share > 0 && share <= 100) return { kind: 'percent', percent: share };
  }
  const size = /^([1-9]\d*)([kmgt]?)$/i.exec(text);
  if (size !== null) {
    return { kind: 'bytes', bytes: Number(size[1]) * 1024 ** (POWERS[(size[2] ?? '').toLowerCase()] ?? 0) };
  }
  throw new RangeError(
    `"${text}" is no part of the data: write 2/7 (the second of at most 256 parts), 2.5% or 500M`,
  );
}

export interface SubsetPack {
  readonly row: number;
  /** The first byte of its id. */
  readonly firstByte: number;
  readonly size: number;
}

/**
 * Chooses packs. `part` goes by the first byte of the id, as restic does: the parts 1/t to t/t together are all packs, also when packs come
 * and go in between. `random` gives numbers from 0 up to below 1.
 */
export function chooseSubset(
  packs: readonly SubsetPack[],
  subset: Subset,
  random: () => number = Math.random,
): SubsetPack[] {
  switch (subset.kind) {
    case 'all':
      return [...packs];
    case 'part':
      return packs.filter((pack) => pack.firstByte % subset.of === subset.part - 1);
    case 'percent':
      return shuffled(packs, random).slice(0, Math.ceil((packs.length * subset.percent) / 100));
    case 'bytes': {
      let left = subset.bytes;
      return shuffled(packs, random).filter((pack, i) => {
        if (i > 0 && pack.size > left) return false;
        left -= pack.size;
        return true;
      });
    }
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const keyed = items.map((item) => ({ item, key: random() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
}
