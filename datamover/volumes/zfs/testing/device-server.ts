import { createReadStream, writeSync } from 'node:fs';
import type { VolumeTarget } from '../../driver.ts';
import { LocalDevices } from '../devices.ts';
import { frame, readFrames, type DeviceRequest } from './device-frames.ts';

/** Runs inside the virtual machine and opens its block devices for vm-devices.ts: the driver's own code at work on real zvols. */
const devices = new LocalDevices();
const targets = new Map<number, VolumeTarget>();
/** Not process.stdin: that makes the machine's connection non-blocking, on which its agent then loses output. */
const input = createReadStream('', { fd: 0 });
const reading = new Map<number, AsyncIterator<Uint8Array>>();

for await (const { head, payload } of readFrames(input)) {
  try {
    const { reply = {}, bytes } = await answer(head as DeviceRequest, payload);
    say(frame(reply, bytes));
  } catch (error) {
    say(frame({ error: error instanceof Error ? error.message : String(error) }));
  }
}

function say(bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) done += writeSync(1, bytes, done);
}

async function answer(
  request: DeviceRequest,
  payload: Buffer,
): Promise<{ reply?: object; bytes?: Uint8Array }> {
  switch (request.do) {
    case 'appear':
      return { reply: { path: await devices.appear(request.zvol) } };
    case 'open': {
      const target = await devices.open(request.path, request.bytes, request.empty);
      targets.set(request.handle, target);
      return { reply: { startsAsZeros: target.startsAsZeros } };
    }
    case 'write':
      await targetOf(request.handle).write(request.position, payload);
      return {};
    case 'zero':
      await targetOf(request.handle).writeZeros(request.position, request.length);
      return {};
    case 'finish':
      await targetOf(request.handle).finish();
      return {};
    case 'read-back': {
      const chunks =
        reading.get(request.handle) ?? targetOf(request.handle).readBack()[Symbol.asyncIterator]();
      reading.set(request.handle, chunks);
      const next = await chunks.next();
      if (next.done !== true) return { reply: { more: true }, bytes: next.value };
      reading.delete(request.handle);
      return { reply: { more: false } };
    }
    case 'close':
      await targetOf(request.handle).close();
      targets.delete(request.handle);
      return {};
    case 'ranges': {
      const parts: Uint8Array[] = [];
      for await (const { bytes } of devices.readRanges(request.path, request.ranges)) parts.push(bytes);
      return { reply: { lengths: parts.map(({ length }) => length) }, bytes: Buffer.concat(parts) };
    }
  }
}

function targetOf(handle: number): VolumeTarget {
  const target = targets.get(handle);
  if (target === undefined) throw new Error(`no target ${handle} is open`);
  return target;
}
