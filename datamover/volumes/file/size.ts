import { readFileSync, type Stats } from 'node:fs';

/** Bytes of a regular file or a block device; undefined for anything else. */
export function imageSize(stats: Stats): number | undefined {
  if (stats.isFile()) return stats.size;
  if (!stats.isBlockDevice()) return undefined;
  // stat(2) gives 0 for a device; sysfs counts in sectors of 512 bytes whatever the device's own (Documentation/ABI/stable/sysfs-block).
  const major = (stats.rdev >> 8) & 0xfff;
  const minor = (stats.rdev & 0xff) | ((stats.rdev >> 12) & 0xfff00);
  return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * 512;
}
