import { DatamoverError } from '../../errors.ts';
import type { HeldRead, VolumeFeed } from '../driver.ts';
import { estimateSend } from './command.ts';
import type { ZvolDevices } from './devices.ts';
import { holdSnapshots, releaseSnapshots } from './holds.ts';
import { listMoments, readGuids } from './inspect.ts';
import { commandFor, type SendFrom, type ZfsRead } from './read-plan.ts';
import { readThroughClone } from './read-clone.ts';

/** Holds the snapshot, and the one that the increment is sent from, until they are released. */
export async function holdSend(plan: ZfsRead, devices: ZvolDevices, signal?: AbortSignal): Promise<HeldRead> {
  const { source } = plan;
  const { from, tag, held } = await holdBoth(plan, signal);
  const stop = new AbortController();
  const feed = feedOf(plan, from, signal ? AbortSignal.any([stop.signal, signal]) : stop.signal);
  return {
    feed,
    ...(source.format === 'image' && {
      readRanges: (ranges, until) =>
        readThroughClone({ dataset: source.dataset, snapshot: source.location }, ranges, devices, until),
    }),
    release: async () => {
      stop.abort();
      await feed.estimate;
      await releaseSnapshots(tag, held);
    },
  };
}

type SendFeed = Extract<VolumeFeed, { kind: 'zvol-send' | 'zfs-stream' }>;

function feedOf({ source }: ZfsRead, from: SendFrom | undefined, signal: AbortSignal): SendFeed {
  const command = commandFor(source, from);
  // Of much that changed since a bookmark it takes as long as the send itself; what cannot be sent says so there.
  const estimate = estimateSend(command, signal).catch(() => undefined);
  if (source.format === 'stream') return { kind: 'zfs-stream', command, estimate };
  return { kind: 'zvol-send', command, increment: from !== undefined, estimate };
}

async function holdBoth(
  { source, from }: ZfsRead,
  signal?: AbortSignal,
): Promise<{ from: SendFrom | undefined; tag: string; held: readonly string[] }> {
  let base = from;
  for (;;) {
    // A bookmark cannot be held: `zfs send` has read all of it before its first byte.
    const held = [source.location, ...(base?.kind === 'snapshot' ? [base.name] : [])];
    const tag = await holdSnapshots(held, signal).catch(async (error: unknown) => {
      // Destroyed or renamed since it was looked at.
      const other = await otherNameOf(source.dataset, base);
      if (other === undefined) throw error;
      base = other;
      return undefined;
    });
    if (tag === undefined) continue;
    try {
      await checkGuids({ source, ...(base && { from: base }) }, signal);
      return { from: base, tag, held };
    } catch (error) {
      await releaseSnapshots(tag, held);
      throw error;
    }
  }
}

/** Of a base that is not there under its name any more: the snapshot by its new name, or the bookmark that is left of it. */
async function otherNameOf(dataset: string, from: SendFrom | undefined): Promise<SendFrom | undefined> {
  if (from?.kind !== 'snapshot') return undefined;
  const moments = await listMoments(dataset).catch(() => []);
  const same = moments.filter(({ guid }) => guid === from.guid);
  if (same.some(({ name }) => name === from.name)) return undefined;
  return same.find(({ kind }) => kind === 'snapshot') ?? same[0];
}

/** Names are used again: what is held must be what was planned. */
async function checkGuids(
  { source, from }: Pick<ZfsRead, 'source' | 'from'>,
  signal?: AbortSignal,
): Promise<void> {
  const expected = [
    { name: source.location, guid: source.record.guid },
    ...(from === undefined ? [] : [{ name: from.name, guid: from.guid }]),
  ];
  const names = expected.map(({ name }) => name);
  const guids = await readGuids(names, signal);
  for (const { name, guid } of expected) {
    const found = guids.get(name);
    if (found === guid) continue;
    throw new DatamoverError({
      operation: 'hold ZFS snapshot',
      subject: name,
      cause:
        found === undefined
          ? 'it is gone since the backup was planned'
          : `it is another one than when the backup was planned (guid ${found} instead of ${guid})`,
      hint: 'run the backup again',
      retryable: true,
    });
  }
}
