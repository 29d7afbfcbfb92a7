import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { imageSize } from '../file/size.ts';
import { native } from '../../process/native.ts';

/** BLKDISCARD: a range of a block device is not needed any more (linux/fs.h). */
const BLKDISCARD = 0x1277;

type Ioctl = (fd: number, request: number, range: BigUint64Array) => number;

/**
 * Discards all of a zvol's device, so that it reads as zeros and takes no space: ZFS frees every block (module/os/linux/zfs/zvol_os.c).
 * That cannot be said of other devices. Gives false where it is not possible: then zeros have to be written.
 */
export async function discardDevice(path: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const device = await open(path, constants.O_RDWR);
  try {
    const bytes = imageSize(await device.stat()) ?? 0;
    const ioctl = native()
      .load(null)
      .func('int ioctl(int fd, unsigned long request, uint64_t *range)') as unknown as Ioctl;
    return ioctl(device.fd, BLKDISCARD, BigUint64Array.of(0n, BigInt(bytes))) === 0;
  } finally {
    await device.close();
  }
}
