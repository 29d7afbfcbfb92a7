import { hash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import type { Repository } from '../repository/repository.ts';
import { seededRandom } from '../repository/testing/bytes.ts';
import { MemoryStore } from '../store/memory.ts';
import { startDriver, type DriverSite } from '../volumes/zfs/testing/driver-site.ts';
import type { BackupSource } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import { executeRestore, planRestore, type RestoreRequest } from './restore.ts';
import { forgetAtRandom } from './testing/forgetting.ts';
import { backUp, newRepository, readBackup, reopen } from './testing/volumes.ts';
import {
  datasetStep,
  EVENTS,
  pick,
  playEvent,
  zvolStep,
  type Event,
  type Scene,
} from './testing/zfs-workload.ts';
import { VolumeReader } from './volume-reader.ts';

/** Steps are made in the machine a few at a time: a command costs more than what it does. */
const STEPS_PER_BATCH = 10;
const BATCHES = 10;
const STEPS = STEPS_PER_BATCH * BATCHES;
/** A batch that finds a chain of so many begins another one. */
const MAX_INCREMENTS = 15;
const SEED = 20261127;
/** Each so many batches the newest backup of the volume also goes onto a real volume with other blocks. */
const BATCHES_PER_RESTORE = 3;
const PATIENCE = 1_500_000;
const LISTING =
  'find . -exec stat -c "%N %f %s %Y %h" {} + | sort; find . -type f -exec sha256sum {} + | sort; find . -type f | sort | xargs -r getfattr -d';

interface Made {
  readonly id: string;
  readonly number: number;
  /** Of the device, or of the listing of all files. */
  readonly sha256: string;
}

describePeer('openzfs', 'random workloads', () => {
  let site: DriverSite;
  let zfs: DriverSite['zfs'];
  let home: string;
  let driver: DriverSite['driver'];

  beforeAll(async () => {
    site = await startDriver('workload-test');
    ({ zfs, home, driver } = site);
  }, PATIENCE);

  afterAll(() => site.stop(), PATIENCE);

  const shell = async (script: string): Promise<string[]> => {
    // A listing that breaks off must not pass for one that is as short on the other side.
    const { stdout } = await zfs.run('sh', '-ec', `set -o pipefail; exec 2>/dev/null; ${script}`);
    return stdout.match(/^[0-9a-f]{64}/gm) ?? [];
  };
  const newStore = async (): Promise<MemoryStore> => {
    const store = new MemoryStore();
    await (await newRepository(store)).close();
    return store;
  };
  /** Each opens the repository anew, as another process would. */
  const opened = async <T>(store: MemoryStore, job: (repository: Repository) => Promise<T>): Promise<T> => {
    const repository = await reopen(store);
    try {
      return await job(repository);
    } finally {
      await repository.close();
    }
  };

  /**
   * Backs up each snapshot of a batch. The first finds its base whatever happened before it, and the last leaves a bookmark if
   * its snapshot is to go; the others come by the stream alone as through a pipe, which costs a fraction of the commands.
   */
  async function* backUpBatch(
    store: MemoryStore,
    kind: 'zvol-stream' | 'zfs-stream',
    dataset: string,
    first: number,
    { next, maxIncrements = STEPS }: { readonly next: Event; readonly maxIncrements?: number },
  ): AsyncGenerator<BackupSummary & { readonly number: number }> {
    for (let i = 0; i < STEPS_PER_BATCH; i++) {
      const number = first + i;
      const location = `${dataset}@s${number}`;
      const flags = kind === 'zfs-stream' ? ['-L', '-c'] : [];
      const args = ['send', ...flags, '-i', `@s${number - 1}`, location];
      const source: BackupSource =
        i === 0 || (i === STEPS_PER_BATCH - 1 && next === 'snapshot-gone')
          ? { kind: 'driver', driver, location }
          : { kind, input: { kind: 'command', file: 'zfs', args } };
      const request = { sample: { cells: 0 }, maxIncrements: i === 0 ? maxIncrements : STEPS };
      const summary = await opened(store, (repository) =>
        backUp(repository, source, request, { workers: 1 }),
      );
      yield { ...summary, number };
    }
  }

  /** What an event may need are the snapshots of the last batch: each older one makes every command slower. */
  const letGo = (dataset: string, first: number): string => {
    const old = Array.from({ length: STEPS_PER_BATCH - 1 }, (_, i) => `s${first - 2 * STEPS_PER_BATCH + i}`);
    return first < 2 * STEPS_PER_BATCH ? '' : `zfs destroy ${dataset}@${old.join(',')} || true`;
  };

  const scene = (
    event: Event,
    dataset: string,
    first: number,
    random: ReturnType<typeof seededRandom>,
  ): Scene =>
    first === 0
      ? { script: '', dataset }
      : playEvent(
          event,
          dataset,
          {
            last: first - 1,
            back: STEPS_PER_BATCH - 1,
            clone: `${home}/${dataset.split('/').at(-1) ?? ''}x`,
          },
          random,
        );

  test(
    `a volume, ${STEPS} steps: each backup is the device, byte for byte, also when others were deleted`,
    async () => {
      const random = seededRandom(SEED);
      const store = await newStore();
      let volume = `${home}/vol`;
      await zfs.zfs('create', '-s', '-b', '8k', '-V', '3M', volume);
      const made: Made[] = [];
      const seen = new Set<string>();
      let event: Event = 'nothing';
      for (let first = 0; first < STEPS; first += STEPS_PER_BATCH) {
        const next = EVENTS[(first / STEPS_PER_BATCH) % EVENTS.length] ?? 'nothing';
        const { script, dataset } = scene(event, volume, first, random);
        volume = dataset;
        const steps = Array.from(
          { length: STEPS_PER_BATCH },
          (_, i) =>
            `${zvolStep(random, dataset)}; zfs snapshot ${dataset}@s${first + i}; sha256sum /dev/zvol/${dataset}`,
        );
        const appear = `until [ -b /dev/zvol/${dataset} ]; do sleep 0.05; done`;
        const lines = [script, letGo(dataset, first), appear, ...steps];
        const sums = await shell(lines.filter((line) => line !== '').join('\n'));
        for await (const summary of backUpBatch(store, 'zvol-stream', dataset, first, { next })) {
          const { number, snapshotId: id = '', read } = summary;
          if (read !== undefined) seen.add(`${event}: ${read.changes.mechanism}`);
          const sha256 = sums[number - first] ?? '';
          expect([number, event, await contentHash(store, id)]).toEqual([number, event, sha256]);
          made.push({ id, number, sha256 });
        }
        const newest = made.at(-1);
        if ((first / STEPS_PER_BATCH) % BATCHES_PER_RESTORE === 0 && newest !== undefined) {
          const target = `${home}/restored${first}`;
          await restore(store, newest.id, target, {
            verify: true,
            wishes: { volblocksize: 32_768, thick: false },
          });
          expect(await shell(`sha256sum /dev/zvol/${target}`)).toEqual([newest.sha256]);
        }
        event = next;
      }
      expect([...seen].join()).toMatch(/promoted: zfs-send-increment/);
      expect([...seen].join()).toMatch(/rollback: zfs-send-increment/);
      expect([...seen].join()).toMatch(/(cloned|bookmark-gone): allocated-extents/);
      for (const { number, id, sha256 } of await forgetAtRandom(store, made, random))
        expect([number, await contentHash(store, id)]).toEqual([number, sha256]);
    },
    PATIENCE,
  );

  test(
    `a filesystem, ${STEPS} steps: each backup is received as it was, also when others were deleted`,
    async () => {
      const random = seededRandom(SEED + 1);
      const store = await newStore();
      let source = `${home}/files`;
      await zfs.zfs('create', '-o', 'recordsize=16k', source);
      const made: Made[] = [];
      /** Backed up, and not yet received. */
      const waiting: Made[] = [];
      let event: Event = 'nothing';
      for (let first = 0; first < STEPS; first += STEPS_PER_BATCH) {
        const next = EVENTS[(first / STEPS_PER_BATCH) % EVENTS.length] ?? 'nothing';
        const { script, dataset } = scene(event, source, first, random);
        source = dataset;
        const numbers = Array.from({ length: STEPS_PER_BATCH }, (_, i) => first + i);
        const steps = numbers.map(
          (number) =>
            `${datasetStep(random)}; zfs snapshot ${dataset}@s${number}; { ${LISTING}; } | sha256sum`,
        );
        const sums = await shell([script, letGo(dataset, first), `cd /${dataset}`, ...steps].join('\n'));
        const chains: string[][] = [];
        for await (const { number, snapshotId: id = '' } of backUpBatch(store, 'zfs-stream', dataset, first, {
          next,
          ...(waiting.length === 0 && { maxIncrements: MAX_INCREMENTS }),
        })) {
          chains.push(await chainOf(store, id));
          waiting.push({ id, number, sha256: sums[number - first] ?? '' });
        }
        // The chain of the last is those of the others with more behind: they are received once.
        const [whole = []] = chains.slice(-1);
        for (const chain of chains) expect(whole.slice(0, chain.length)).toEqual(chain);
        // One restore receives two batches, where the second goes on with what the first sent.
        const goesOn = next === 'nothing' || next === 'snapshot-gone' || next === 'promoted';
        if (!goesOn || waiting.length > STEPS_PER_BATCH || first + STEPS_PER_BATCH === STEPS) {
          const mirror = `${home}/mirror${first}`;
          await restore(store, waiting.at(-1)?.id ?? '', mirror);
          const received = await listings(waiting.map(({ number }) => `${mirror}@s${number}`));
          for (const [i, { number, sha256 }] of waiting.entries())
            expect([number, event, received[i]]).toEqual([number, event, sha256]);
          made.push(...waiting.splice(0));
        }
        event = next;
      }
      const left = await forgetAtRandom(store, made, random);
      for (const { number, id, sha256 } of [left[0], pick(random, left), left.at(-1)].flatMap(
        (one) => one ?? [],
      )) {
        const target = `${home}/again${number}-${random.below(1_000_000)}`;
        await restore(store, id, target);
        expect([number, await listings([`${target}@s${number}`])]).toEqual([number, [sha256]]);
      }
      for (const { id } of left) expect(await contentHash(store, id)).toMatch(/^\w{64}$/);
    },
    PATIENCE,
  );

  /** A hash of all files of each snapshot, their names, modes, times, links and attributes. */
  const listings = async (snapshots: readonly string[]): Promise<string[]> => {
    const sums = await shell(
      `mkdir -p /tmp/workload; for s in ${snapshots.join(' ')}; do mount -t zfs -o ro $s /tmp/workload; cd /tmp/workload
      { ${LISTING}; } | sha256sum; cd /; umount /tmp/workload; done`,
    );
    expect(sums).toHaveLength(snapshots.length);
    return sums;
  };

  /** The image of the backup, or its streams. */
  const contentHash = (store: MemoryStore, id: string): Promise<string> =>
    opened(store, async (repository) => hash('sha256', await readBackup(repository, id)));

  const chainOf = (store: MemoryStore, id: string): Promise<string[]> =>
    opened(store, async (repository) => {
      const { record } = await VolumeReader.open(repository, id, await repository.loadSnapshot(id));
      return (record.streams ?? []).map(({ folder }) => folder);
    });

  const restore = (
    store: MemoryStore,
    snapshotId: string,
    location: string,
    request: Partial<RestoreRequest> = {},
  ): Promise<unknown> =>
    opened(store, async (repository) => {
      const target = { kind: 'driver', driver, location } as const;
      const plan = await planRestore(repository, { snapshotId, target, ...request });
      return executeRestore(repository, plan, { workers: 1 });
    });
});
