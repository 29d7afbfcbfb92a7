import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { TRANSFER_VARIABLE } from '../process/owner.ts';
import type { DriverSite, SiteVolume } from '../volumes/driver.suite.ts';
import { sorted } from '../volumes/testing/printable.ts';
import { Workbench } from './testing/command.ts';
import { ended, packBytes, programOf, signalWhenSaid, until } from './testing/processes.ts';

const MIB = 1 << 20;
const PATIENCE = 600_000;
const BYTES = 48 * MIB;
const FEW = 3 * MIB;
const DATA = 20 * MIB;
/** Three packs, of which two are uploaded at once: when the first one is there, the third has hardly begun. */
const PACKS = 40 * MIB;
/** KiB a second of what is to be cut off: the data takes minutes, so it cannot be over when the signal comes. */
const CRAWL = '128';

/** The fields that every summary of a backup from a storage has; the agent's children are read by them (docs/cli.md). */
export interface BackupRecord {
  readonly message_type: string;
  readonly snapshot_id: string;
  readonly parent?: string;
  readonly changes: { readonly mechanism: string; readonly because?: string };
  readonly base?: string;
  readonly bytes_read: number;
  readonly bytes_changed?: number;
  readonly data_added: number;
  readonly deduplicated_bytes: number;
  readonly sample?: { readonly cells: number; readonly differs_at?: number };
  readonly warnings: readonly string[];
}

export interface StorageTraits {
  /** Another program prints what is read. */
  readonly drivesProgram: boolean;
  /** The volumes' block devices are on another machine: restores go to files, and nothing is compared at random. */
  readonly devicesElsewhere?: boolean;
  /** What a mover held is let go when it dies, by a process that outlives it. */
  readonly letsGoItself?: boolean;
}

/** What the command must do with volumes on every storage. `open` gives one that the suite has for itself. */
export function storageSuite(
  title: string,
  open: () => Promise<DriverSite>,
  { drivesProgram, devicesElsewhere = false, letsGoItself = false }: StorageTraits,
): void {
  describe(`the command and ${title}`, () => {
    let bench: Workbench;
    let site: DriverSite;
    let made = 0;

    beforeAll(async () => {
      bench = await Workbench.create();
      site = await open();
      await bench.json(['init']);
    }, PATIENCE);

    afterAll(async () => {
      await site.dispose();
      await bench.remove();
    }, PATIENCE);

    const access = (): string[] => {
      const { conf } = site.options.ceph ?? {};
      return conf === undefined ? [] : ['--ceph-conf', conf];
    };
    const url = (location: string): string => `${site.scheme}:${location}`;
    const sample = devicesElsewhere ? ['--sample', '0'] : [];
    const backupArgs = (location: string, volume: string, ...more: string[]): string[] => [
      ...['backup', url(location), '--volume', volume],
      ...[...sample, ...access(), ...more],
    ];
    const backUp = async (location: string, volume: string, ...more: string[]): Promise<BackupRecord> =>
      (await bench.json(backupArgs(location, volume, ...more))).at(-1) as BackupRecord;
    const newTarget = (): string => {
      if (!devicesElsewhere) return url(site.newTarget());
      return `file:${bench.path(`restored-${made++}`)}`;
    };
    const toward = (): string[] => (devicesElsewhere ? [] : access());
    const restore = async (snapshot: string, to: string, ...more: string[]): Promise<void> => {
      await bench.json(['restore', snapshot, '--to', to, '--verify', ...toward(), ...more]);
    };
    const filled = async (data = FEW): Promise<{ volume: SiteVolume; name: string }> => {
      const volume = await site.makeVolume(BYTES);
      await volume.write(MIB, randomBytes(data));
      return { volume, name: `shop/volume-${made++}` };
    };
    const expectSame = async (restored: string, location: string): Promise<void> => {
      const path = restored.slice(restored.indexOf(':') + 1);
      const content = devicesElsewhere ? await readFile(path) : await site.read(path);
      expect(content.equals(await site.read(location))).toBe(true);
    };

    test(
      'a volume goes in, its changes after it, and each backup comes back; the summary says how they were known',
      async () => {
        const { volume, name } = await filled();
        const one = await volume.snapshot('one');
        const first = await backUp(one, name);
        expect(first).toMatchObject({ message_type: 'summary', warnings: [], volume: name });
        expect(first.changes).toEqual({ mechanism: expect.any(String), because: expect.any(String) });
        expect(first).not.toHaveProperty('base');
        const target = newTarget();
        await restore(first.snapshot_id, target);
        await expectSame(target, one);

        await volume.write(29 * MIB, randomBytes(8192));
        await volume.write(2 * MIB, Buffer.alloc(MIB));
        const two = await volume.snapshot('two');
        const second = await backUp(two, name);
        expect(second.parent).toBe(first.snapshot_id);
        expect(second.data_added).toBeLessThanOrEqual(2 * MIB);
        if (site.tellsChanges) {
          expect(second).toMatchObject({ base: first.snapshot_id, warnings: [] });
          expect(second.bytes_read).toBeLessThan(16 * MIB);
          expect(second.bytes_changed).toBeGreaterThanOrEqual(2 * MIB);
        }
        await restore(second.snapshot_id, target, '--force');
        await expectSame(target, two);
      },
      PATIENCE,
    );

    test(
      '--base names the backup to build on, or none; what cannot be built on is refused',
      async () => {
        const { volume, name } = await filled();
        const first = await backUp(await volume.snapshot('one'), name);
        await volume.write(0, randomBytes(4096));
        const two = await volume.snapshot('two');
        const whole = await backUp(two, name, '--base', 'none');
        expect(whole).not.toHaveProperty('base');
        expect(whole.data_added).toBeLessThanOrEqual(MIB);
        const asked = await bench.run(['--json', ...backupArgs(two, name, '--base', first.snapshot_id)]);
        if (site.tellsChanges) {
          expect(JSON.parse(asked.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
            base: first.snapshot_id,
          });
        } else {
          expect(asked.status).toBe(1);
          expect(asked.stderr).toMatch(/"code":1,"message":"back up .* since backup [0-9a-f]{8}/);
        }
        const { volume: other } = await filled();
        const strange = await bench.run(
          backupArgs(await other.snapshot('one'), name, '--base', first.snapshot_id.slice(0, 12)),
        );
        expect(strange.status).toBe(1);
        expect(strange.stderr).toMatch(/^datamover: [^\n]* backup [0-9a-f]{8}[^\n]*\n$/);
      },
      PATIENCE,
    );

    test(
      '--stats says in words how much was read, changed and uploaded, and by what list',
      async () => {
        const { volume, name } = await filled();
        const full = await bench.run(backupArgs(await volume.snapshot('one'), name, '--stats'));
        expect(full.stdout).toMatch(/statistics: read [\d.]+ MiB, new 3\.0 MiB, uploaded [\d.]+ MiB/);
        expect(full.stdout).toMatch(/\n {2}no base, by [a-z-]+, because \S/);
        await volume.write(0, randomBytes(4096));
        const next = await bench.run(backupArgs(await volume.snapshot('two'), name, '--stats', '-q'));
        const known = site.tellsChanges ? /changes since backup [0-9a-f]{8}, by [a-z-]+/ : /no base, by/;
        expect(next.stdout).toMatch(known);
      },
      PATIENCE,
    );

    test(
      'a mover that is killed leaves nothing that the next backup does not use or take away',
      async () => {
        const { volume, name } = await filled(PACKS);
        const location = await volume.snapshot('one');
        const before = sorted(await site.list());
        const stored = await packBytes(bench.repository);
        const mover = await bench.start(backupArgs(location, name, '--limit-upload', '4096'));
        await until(async () => (await packBytes(bench.repository)) > stored);
        process.kill(mover.pid, 'SIGKILL');
        await ended(mover);
        const uploaded = (await packBytes(bench.repository)) - stored;
        if (!letsGoItself) {
          // Who may not open the repository changes nothing on the storage either.
          const left = sorted(await site.list());
          const wrong = { env: { RESTIC_PASSWORD: 'wrong' } };
          const { status } = await bench.run(backupArgs(location, name), wrong);
          expect([status, sorted(await site.list())]).toEqual([12, left]);
        }
        const again = await backUp(location, name);
        // What it had uploaded is not uploaded again; a pack is a little larger than what it holds.
        expect(again.data_added).toBeLessThanOrEqual(PACKS - 0.98 * uploaded);
        await expectLeft(before, volume);
        const target = newTarget();
        await restore(again.snapshot_id, target);
        await expectSame(target, location);
      },
      PATIENCE,
    );

    const testProgram = drivesProgram ? test : undefined;
    testProgram?.(
      'a program of the storage that is killed fails the backup in one sentence, and leaves nothing',
      async () => {
        const { volume, name } = await filled(PACKS);
        const location = await volume.snapshot('one');
        const before = sorted(await site.list());
        const mover = await bench.start(backupArgs(location, name, '--limit-upload', CRAWL, '-q'));
        // Not the estimate of `zfs send`, beside it, which a backup can do without.
        const program = await programOf(mover.pid, /\bexport-diff\b|\bsend (?!-nvP)/);
        process.kill(program, 'SIGKILL');
        const { status, stderr } = await ended(mover);
        expect(stderr).toMatch(/^datamover: [^\n]*\n$/);
        expect(status).toBe(1);
        await expectLeft(before, volume);
        await expect(bench.json(['snapshots', '--volume', name])).resolves.toEqual([[]]);
        expect((await backUp(location, name)).warnings).toEqual([]);
      },
      PATIENCE,
    );

    test(
      'a stopped backup and a stopped restore leave nothing',
      async () => {
        const { volume, name } = await filled(DATA);
        const location = await volume.snapshot('one');
        const before = sorted(await site.list());
        const stopped = async (args: readonly string[], underWay: RegExp): Promise<void> => {
          const mover = await bench.start(['--json', ...args], { env: { RESTIC_PROGRESS_FPS: '10' } });
          await signalWhenSaid(mover, underWay, 'SIGINT');
          expect((await ended(mover)).status).toBe(130);
        };
        await stopped(backupArgs(location, name, '--limit-upload', CRAWL), /"bytes_done":[1-9]/);
        expect(sorted(await site.list())).toEqual(before);

        const { snapshot_id: id } = await backUp(location, name);
        const kept = sorted(await site.list());
        await stopped(
          ['restore', id, '--to', newTarget(), ...toward(), '--limit-download', CRAWL],
          /"bytes_restored":[1-9]/,
        );
        expect(sorted(await site.list())).toEqual(kept);
      },
      PATIENCE,
    );

    test(
      'status lines tell how far it is, and end at the whole',
      async () => {
        const { volume, name } = await filled(DATA);
        const lines = await bench.json(
          backupArgs(await volume.snapshot('one'), name, '--limit-upload', '16384'),
          { env: { RESTIC_PROGRESS_FPS: '20' } },
        );
        const status = lines.slice(0, -1) as Record<string, number>[];
        expect(status.length).toBeGreaterThan(2);
        for (const line of status) {
          expect(line['bytes_done']).toEqual(expect.any(Number));
          expect(line['bytes_per_second']).toEqual(expect.any(Number));
          expect(line['total_bytes']).toBeGreaterThanOrEqual(line['bytes_done'] ?? Infinity);
        }
        const last = status.at(-1);
        expect(last?.['bytes_done']).toBe(last?.['total_bytes']);
      },
      PATIENCE,
    );

    test(
      'cleanup takes nothing of what lives; options and wishes of another storage are refused',
      async () => {
        const { volume, name } = await filled();
        const location = await volume.snapshot('one');
        const cleaned = await bench.json(['cleanup', url(volume.location), url(location), ...access()]);
        expect(cleaned).toEqual([{ message_type: 'summary', removed: [], left: [] }]);
        if (site.scheme === 'rbd') {
          const partial = `${volume.location}.datamover-0123456789abcdef-1-1-1-${Math.floor(Date.now() / 1000)}-00ff`;
          await site.makeVolume(1 << 20, partial);
          const [summary] = await bench.json(['cleanup', url(location), ...access()]);
          const left = [expect.stringContaining(`left ${partial}: since`)];
          expect(summary).toEqual({ message_type: 'summary', removed: [], left });
          // Of a transfer that has ended, as its object says (K-31).
          const id = 'b0123456789abcdef';
          const env = { [TRANSFER_VARIABLE]: id };
          const hash = createHash('sha256').update(id).digest('hex').slice(0, 12);
          const ours = partial.replace('-1-1-1-', `-1-1-1-${hash}-`);
          await site.makeVolume(1 << 20, ours);
          const cleaned = await bench.json(['cleanup', url(location), ...access()], { env });
          const removed = [expect.stringContaining(`removed ${ours},`)];
          expect(cleaned).toEqual([{ message_type: 'summary', removed, left }]);
        }
        const { snapshot_id: id } = await backUp(location, name);
        const foreign = site.scheme === 'zfs' ? '--object-size' : '--volblocksize';
        const wished = await bench.run([
          ...['restore', id, '--to', url(site.newTarget()), ...access(), foreign, '16K'],
        ]);
        expect([wished.status, wished.stderr]).toEqual([
          1,
          expect.stringMatching(new RegExp(`${foreign} means nothing to`)),
        ]);
      },
      PATIENCE,
    );

    /** After a backup there is what was there before it; bookmarks are what the next one builds on. */
    async function expectLeft(before: readonly string[], volume: SiteVolume): Promise<void> {
      expect((await bench.json(['cleanup', url(volume.location), ...access()])).at(-1)).toEqual({
        message_type: 'summary',
        removed: [],
        left: [],
      });
      const left = (await site.list()).filter((line) => !line.includes('#'));
      expect(sorted(left)).toEqual(before.filter((line) => !line.includes('#')));
    }
  });
}
