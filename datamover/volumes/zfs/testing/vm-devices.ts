import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { start, type Running } from '../../../process/spawn.ts';
import type { ByteRange, RangeContent, VolumeTarget } from '../../driver.ts';
import type { ZvolDevices } from '../devices.ts';
import { frame, readFrames, type DeviceReply, type DeviceRequest } from './device-frames.ts';

interface Frame {
  readonly head: DeviceReply;
  readonly payload: Buffer;
}

/** How its proxies find the machine. */
interface VmReach {
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Block devices of the virtual machine with OpenZFS, for a driver that runs outside of it. */
export class VmDevices implements ZvolDevices {
  readonly #input: PassThrough;
  readonly #running: Running;
  readonly #replies: ReturnType<typeof readFrames>;
  #last: Promise<unknown> = Promise.resolve();
  #handles = 0;

  private constructor(input: PassThrough, running: Running) {
    this.#input = input;
    this.#running = running;
    this.#replies = readFrames(running.stdout);
  }

  static async start({ environment }: VmReach): Promise<VmDevices> {
    const script = fileURLToPath(new URL('./device-server.js', import.meta.url));
    const input = new PassThrough();
    const command = { file: 'vm', args: ['--host', process.execPath, script], env: environment, input };
    return new VmDevices(input, await start(command));
  }

  async appear(zvol: string): Promise<string> {
    return (await this.#ask({ do: 'appear', zvol })).head.path ?? '';
  }

  async open(path: string, bytes: number, empty: boolean): Promise<VolumeTarget> {
    const handle = this.#handles++;
    const opened = await this.#ask({ do: 'open', handle, path, bytes, empty });
    const ask = async (request: DeviceRequest, payload?: Uint8Array): Promise<void> => {
      await this.#ask(request, payload);
    };
    const next = (): Promise<Frame> => this.#ask({ do: 'read-back', handle });
    return {
      order: 'any',
      startsAsZeros: opened.head.startsAsZeros === true,
      write: (position, content) => ask({ do: 'write', handle, position }, content),
      writeZeros: (position, length) => ask({ do: 'zero', handle, position, length }),
      finish: () => ask({ do: 'finish', handle }),
      async *readBack() {
        for (let part = await next(); part.head.more === true; part = await next()) yield part.payload;
      },
      close: () => ask({ do: 'close', handle }),
      discard: () => ask({ do: 'close', handle }),
    };
  }

  async *readRanges(path: string, ranges: readonly ByteRange[]): AsyncGenerator<RangeContent> {
    const { head, payload } = await this.#ask({ do: 'ranges', path, ranges });
    let at = 0;
    for (const [index, { offset }] of ranges.entries()) {
      const length = head.lengths?.[index] ?? 0;
      yield { offset, bytes: payload.subarray(at, at + length) };
      at += length;
    }
  }

  async stop(): Promise<void> {
    this.#input.end();
    await this.#running.finished;
  }

  #ask(request: DeviceRequest, payload?: Uint8Array): Promise<Frame> {
    const asked = this.#last.then(async () => {
      this.#input.write(frame(request, payload));
      const next = await this.#replies.next();
      if (next.done === true) throw new Error('the device server has ended');
      const reply: Frame = next.value;
      if (reply.head.error !== undefined) throw new Error(reply.head.error);
      return reply;
    });
    this.#last = asked.catch(() => undefined);
    return asked;
  }
}
