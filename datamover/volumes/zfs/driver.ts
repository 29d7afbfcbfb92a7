import type {
  HeldRead,
  ReadRequest,
  SourceVolume,
  StreamReceiver,
  TargetNeed,
  VolumeDriver,
  VolumeTarget,
} from '../driver.ts';
import { keepBookmark } from './bookmarks.ts';
import { cleanUpVolume } from './clean-up.ts';
import { LocalDevices, type ZvolDevices } from './devices.ts';
import { holdSend } from './held-send.ts';
import { listMoments, type Moment } from './inspect.ts';
import { parseZfsName } from './name.ts';
import { planSend, type ZfsRead } from './read-plan.ts';
import { planReceive, receiveStreams, type ReceivePlan } from './receive.ts';
import { identifySnapshot, type ZfsSource } from './source.ts';
import { planZvol, type ZvolPlan } from './zvol-plan.ts';
import { openZvol } from './zvol-target.ts';

export interface ZfsOptions {
  /** Encrypted volumes are sent as they lie on disk (`zfs send -w`) and kept as streams; no key is needed then. */
  readonly raw?: boolean;
  /** Where block devices of volumes are opened; in this machine's /dev/zvol without it. */
  readonly devices?: ZvolDevices;
}

/** A backup that waited for its repository's lock plans by what there is then. */
const FRESH_MS = 5000;

/**
 * OpenZFS through its `zfs` command. Volumes are images: `zfs send` is taken apart; filesystems, and raw sends, are streams that
 * are kept as they are. Increments are told exactly, from a snapshot or the bookmark of one that is gone.
 */
export class ZfsDriver implements VolumeDriver<ZfsRead, ZvolPlan> {
  readonly name = 'zfs';
  readonly streams: StreamReceiver<ReceivePlan> = { plan: planReceive, receive: receiveStreams };
  readonly #raw: boolean;
  readonly #devices: ZvolDevices;
  /** What was seen beside a source that is to be planned: used once, for it grows old. */
  readonly #seen = new WeakMap<SourceVolume, { readonly moments: Moment[]; readonly at: number }>();

  constructor({ raw = false, devices = new LocalDevices() }: ZfsOptions = {}) {
    this.#raw = raw;
    this.#devices = devices;
  }

  async identify(location: string, signal?: AbortSignal): Promise<ZfsSource> {
    const { dataset } = parseZfsName(location);
    const [source, moments] = await Promise.allSettled([
      identifySnapshot(location, this.#raw, signal),
      listMoments(dataset, signal),
    ]);
    if (source.status === 'rejected') throw source.reason;
    if (moments.status === 'fulfilled')
      this.#seen.set(source.value, { moments: moments.value, at: Date.now() });
    return source.value;
  }

  async planRead(source: SourceVolume, request: ReadRequest, signal?: AbortSignal): Promise<ZfsRead> {
    const known = isZfsSource(source) ? source : await this.identify(source.location, signal);
    const seen = this.#seen.get(known);
    this.#seen.delete(known);
    const fresh = seen !== undefined && Date.now() - seen.at < FRESH_MS;
    return planSend(known, request, fresh ? seen.moments : await listMoments(known.dataset, signal));
  }

  async hold(plan: ZfsRead, signal?: AbortSignal): Promise<HeldRead> {
    return holdSend(plan, this.#devices, signal);
  }

  async keepBase({ source: { dataset, location, record }, bookmarks }: ZfsRead): Promise<void> {
    await keepBookmark(dataset, location, record.guid, bookmarks);
  }

  async planTarget(location: string, need: TargetNeed, signal?: AbortSignal): Promise<ZvolPlan> {
    return planZvol(location, need, signal);
  }

  async openTarget(plan: ZvolPlan, signal?: AbortSignal): Promise<VolumeTarget> {
    return openZvol(plan, this.#devices, signal);
  }

  async cleanUp(location: string, signal?: AbortSignal): Promise<string[]> {
    return cleanUpVolume(location, signal);
  }

  async close(): Promise<void> {
    // Nothing stays open between calls.
  }
}

function isZfsSource(source: SourceVolume): source is ZfsSource {
  return 'dataset' in source && source.driver === 'zfs';
}
