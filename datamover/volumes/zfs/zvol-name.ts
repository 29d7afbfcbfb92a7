import { native } from '../../process/native.ts';

/** BLKZNAME, `_IOR(0x12, 125, char[256])`: which volume a device is (OpenZFS, include/sys/fs/zfs.h). */
const BLKZNAME = 0x8100127d;
/** ZFS_MAX_DATASET_NAME_LEN */
const NAME_BYTES = 256;

type Ioctl = (fd: number, request: number, name: Uint8Array) => number;

let ioctl: Ioctl | undefined;

/** The name of the volume whose device is open there, as ZFS itself tells it; undefined where it is no device of ZFS. */
export function zvolOf(fd: number): string | undefined {
  ioctl ??= native()
    .load(null)
    .func('int ioctl(int fd, unsigned long request, void *name)') as unknown as Ioctl;
  const name = Buffer.alloc(NAME_BYTES);
  if (ioctl(fd, BLKZNAME, name) !== 0) return undefined;
  return name.toString('utf8', 0, name.indexOf(0));
}
