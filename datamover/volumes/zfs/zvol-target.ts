import { DatamoverError } from '../../errors.ts';
import { commandFailure } from '../../process/spawn.ts';
import { ownerName } from '../../process/owner.ts';
import type { VolumeTarget } from '../driver.ts';
import { runZfs } from './command.ts';
import { destroyZfs } from './destroy.ts';
import type { ZvolDevices } from './devices.ts';
import { RESTORING } from './inspect.ts';
import { refusal, type ZvolPlan } from './zvol-plan.ts';

const OPERATION = 'restore to';

/** Makes the volume, or opens the one that is there, which loses what it had. */
export async function openZvol(
  plan: ZvolPlan,
  devices: ZvolDevices,
  signal?: AbortSignal,
): Promise<VolumeTarget> {
  const isNew = plan.action === 'create';
  if (plan.replaces) await destroyZfs(plan.location);
  if (isNew) await create(plan, signal);
  try {
    const path = await devices.appear(plan.location, signal);
    return new ZvolTarget(plan, await devices.open(path, plan.bytes, !isNew));
  } catch (error) {
    if (isNew) await destroyZfs(plan.location);
    throw error;
  }
}

/** Until it is closed a new volume bears a mark, by which the next restore knows one that was left half made. */
class ZvolTarget implements VolumeTarget {
  readonly order = 'any';
  readonly #plan: ZvolPlan;
  readonly #device: VolumeTarget;

  constructor(plan: ZvolPlan, device: VolumeTarget) {
    this.#plan = plan;
    this.#device = device;
  }

  get startsAsZeros(): boolean {
    return this.#plan.action === 'create' || this.#device.startsAsZeros;
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    await this.#device.write(position, bytes);
  }

  async writeZeros(position: number, length: number): Promise<void> {
    await this.#device.writeZeros(position, length);
  }

  async finish(): Promise<void> {
    await this.#device.finish();
  }

  readBack(signal?: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#device.readBack(signal);
  }

  async close(): Promise<void> {
    await this.#device.close();
    const { action, location } = this.#plan;
    if (action !== 'create') return;
    await runZfs({ operation: OPERATION, subject: location, args: ['inherit', RESTORING, location] });
  }

  async discard(): Promise<void> {
    await this.#device.close().catch(() => undefined);
    if (this.#plan.action === 'create') await destroyZfs(this.#plan.location);
  }
}

async function create(plan: ZvolPlan, signal?: AbortSignal): Promise<void> {
  const { location, bytes, thick, volblocksize, properties } = plan;
  const mark = `${RESTORING}=${ownerName()}:${Math.floor(Date.now() / 1000)}`;
  const wanted = Object.entries(properties).map(([name, value]) => `${name}=${value}`);
  const settings = [mark, `volblocksize=${volblocksize}`, ...wanted].flatMap((setting) => ['-o', setting]);
  try {
    await runZfs({
      operation: OPERATION,
      subject: location,
      args: ['create', ...(thick ? [] : ['-s']), ...settings, '-V', String(bytes), location],
      ...(signal !== undefined && { signal }),
    });
  } catch (error) {
    // A thick volume reserves more than its bytes: their metadata, too.
    const said = commandFailure(error instanceof DatamoverError ? error.cause : error)?.stderr ?? '';
    if (!thick || !said.includes('out of space')) throw error;
    throw refusal(
      location,
      `its pool or a quota has no room for a thick volume of ${bytes} bytes and what ZFS keeps beside them`,
      'free space, raise the quota, choose another pool, or make it thin (--thin)',
    );
  }
}
