import { readFileSync, type Stats } from 'node:fs';

/** Bytes of a regular file or a block device; undefined for anything else. */
export function imageSize(stats: Stats): number | undefined {
  if (stats.isFile()) return stats.size;
  if (!stats.isBlockDevice()) return undefined;
  // stat(2) gives 0 for a device; sysfs counts in sectors of 512 bytes whatever the device's own (Documentation/ABI/stable/sysfs-block).
  return Number(readFileSync(`/sys/dev/block/${deviceNumber(stats)}/size`, 'utf8')) * 512;
}

/** Of a device, as sysfs and udev write it: `230:16`. */
function deviceNumber({ rdev }: Pick<Stats, 'rdev'>): string {
  const major = (rdev >> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >> 12) & 0xfff00);
  return `${major}:${minor}`;
}
