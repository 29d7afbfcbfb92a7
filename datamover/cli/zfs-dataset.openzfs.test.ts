import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startOpenZfs, type OpenZfs } from '../../e2e/servers/openzfs.ts';
import type { BackupRecord } from './storage.suite.ts';
import { run } from '../process/spawn.ts';
import { Workbench } from './testing/command.ts';
import { inDataset, LISTING } from './testing/datasets.ts';
import { ended, programOf, signalWhenSaid } from './testing/processes.ts';

const PATIENCE = 600_000;
const FILES = `mkdir -p a/b; for i in $(seq 12); do head -c $((i * 9000)) /dev/urandom > a/f$i; done
  head -c 3000000 /dev/urandom > big; ln -s a/f3 link; ln a/f4 a/b/f4; chmod 741 a/f5`;
const CHANGES = `rm a/f1[0-2]; head -c 4000000 /dev/urandom > a/b/new; dd if=/dev/urandom of=big bs=4k count=3 seek=100 conv=notrunc`;

describePeer('openzfs', 'ZFS datasets through the command', () => {
  let zfs: OpenZfs;
  let bench: Workbench;
  let home: string;
  let files: string;
  let first: BackupRecord;
  let second: BackupRecord;

  const env = (): Record<string, string> => ({ ...zfs.environment });
  const shell = (dataset: string, script: string): Promise<string> => inDataset(zfs, dataset, script);
  const backUp = async (snapshot: string, ...more: string[]): Promise<BackupRecord> => {
    const args = ['backup', `zfs:${snapshot}`, '--volume', 'shop/files', ...more];
    return (await bench.json(args, { env: env() })).at(-1) as BackupRecord;
  };

  beforeAll(async () => {
    bench = await Workbench.create();
    zfs = await startOpenZfs();
    home = `${zfs.pool}/dataset-command`;
    await zfs.zfs('create', '-p', '-o', 'recordsize=32k', '-o', 'compression=lz4', `${home}/source`);
    await bench.json(['init']);
    await shell(`${home}/source`, FILES);
    await zfs.zfs('snapshot', `${home}/source@one`);
    first = await backUp(`${home}/source@one`);
    await shell(`${home}/source`, CHANGES);
    await zfs.zfs('snapshot', `${home}/source@two`);
    second = await backUp(`${home}/source@two`);
    files = await shell(`${home}/source`, LISTING);
  }, PATIENCE);
  afterAll(async () => {
    await zfs.zfs('destroy', '-R', home);
    await zfs.stop();
    await bench.remove();
  }, PATIENCE);

  test(
    'are kept as streams: a full one, then what changed; both are listed',
    async () => {
      expect(first).toMatchObject({ format: 'stream', warnings: [] });
      expect(first.changes.because).toEqual(expect.any(String));
      expect(second).toMatchObject({
        changes: { mechanism: 'zfs-send-increment' },
        base: first.snapshot_id,
        warnings: [],
      });
      expect(second.bytes_read).toBeLessThan(first.bytes_read + 4_000_000);
      expect(second.bytes_changed).toBe(second.bytes_read);
      const [streams] = await bench.json(['restore', second.snapshot_id, '--list']);
      expect(streams).toMatchObject([{ number: 0, from: null }, { number: 1 }]);
    },
    PATIENCE,
  );

  test(
    'come back as a dataset with all of its files, properties as they were or as wished',
    async () => {
      const target = `${home}/restored`;
      const restored = await bench.json(
        ['restore', second.snapshot_id, '--to', `zfs:${target}`, '--property', 'compression=zstd'],
        { env: env() },
      );
      expect(restored.at(-1)).toMatchObject({ message_type: 'summary', target: `zfs:${target}` });
      expect(await shell(target, LISTING)).toBe(files);
      const properties = await zfs.zfs('get', '-Hpo', 'value', 'compression,recordsize', target);
      expect(properties.trim().split('\n')).toEqual(['zstd', '32768']);
    },
    PATIENCE,
  );

  test(
    'a restore that is killed goes on where it was, and leaves nothing half',
    async () => {
      const target = `${home}/killed`;
      const args = ['--json', 'restore', second.snapshot_id, '--to', `zfs:${target}`];
      const mover = await bench.start([...args, '--limit-download', '512'], {
        env: { ...env(), RESTIC_PROGRESS_FPS: '10' },
      });
      await signalWhenSaid(mover, /"bytes_restored":[1-9]\d{6}/, 'SIGKILL');
      await ended(mover);
      const again = (await bench.json(args.slice(1), { env: env() })).at(-1);
      expect(again).toMatchObject({ message_type: 'summary' });
      expect(await shell(target, LISTING)).toBe(files);
    },
    PATIENCE,
  );

  test(
    'are no backup where a send dies in its pipe, killed or cut short',
    async () => {
      const piped = ['backup', '--as', 'zfs', '--volume', 'shop/piped', '--stdin-command'];
      const killed = await bench.start([...piped, 'zfs', 'send', '-L', '-c', `${home}/source@two`], {
        env: env(),
      });
      process.kill(await programOf(killed.pid, /send -L -c/), 'SIGKILL');
      const { status, stderr } = await ended(killed);
      expect(status).toBe(1);
      expect(stderr).toMatch(/zfs.*SIGKILL/);
      // The shell hides that the send failed; the stream itself does not.
      const cut = `zfs send -L -c ${home}/source@two | head -c 2000000`;
      const short = await bench.run([...piped, 'sh', '-c', cut], { env: env() });
      expect(short.status).toBe(1);
      expect(short.stderr).toMatch(/it stops after 2000000 bytes, before its end/);
      expect(await bench.json(['snapshots', '--volume', 'shop/piped'])).toEqual([[]]);
      const whole = await bench.json([...piped, 'zfs', 'send', '-L', '-c', `${home}/source@two`], {
        env: env(),
      });
      expect(whole.at(-1)).toMatchObject({ message_type: 'summary', warnings: [] });
    },
    PATIENCE,
  );

  test(
    'begin a chain anew when it is as long as it may be',
    async () => {
      await zfs.zfs('snapshot', `${home}/source@three`);
      const third = await backUp(`${home}/source@three`, '--max-increments', '1');
      expect(third).not.toHaveProperty('base');
      expect(third.changes.because).toMatch(/has 1 increments/);
      const [streams] = await bench.json(['restore', third.snapshot_id, '--list']);
      expect(streams).toHaveLength(1);
    },
    PATIENCE,
  );

  test(
    'are merged into one full stream without the pool, which comes back and takes the next increment',
    async () => {
      const snapshot = async (name: string, script: string): Promise<BackupRecord> => {
        await shell(`${home}/source`, script);
        await zfs.zfs('snapshot', `${home}/source@${name}`);
        return backUp(`${home}/source@${name}`);
      };
      const consolidate = async (...more: string[]): Promise<unknown> =>
        (await bench.json(['consolidate', 'latest', '--volume', 'shop/files', ...more])).at(-1);
      expect(await consolidate()).toMatchObject({ streams: 1, nothing: expect.any(String), removed: [] });
      const fourth = await snapshot('four', 'rm a/f7; mv a/f8 a/b/; head -c 300000 /dev/urandom > a/f9');
      const was = await shell(`${home}/source`, LISTING);
      const planned = { message_type: 'summary', original: fourth.snapshot_id, streams: 2, removed: [] };
      expect(await consolidate('--dry-run', '--forget')).toMatchObject({ ...planned, dry_run: true });
      const done = (await consolidate('--forget')) as { snapshot_id: string };
      expect(done).toMatchObject({ ...planned, dry_run: false, removed: [fourth.snapshot_id] });
      const [streams] = await bench.json(['restore', 'latest', '--volume', 'shop/files', '--list']);
      expect(streams).toMatchObject([{ number: 0, from: null }]);
      const fifth = await snapshot('five', 'rm a/f6; echo more > a/more');
      expect(fifth).toMatchObject({ base: done.snapshot_id, changes: { mechanism: 'zfs-send-increment' } });
      for (const [id, name, listing] of [
        [done.snapshot_id, 'merged', was],
        [fifth.snapshot_id, 'behind-merged', await shell(`${home}/source`, LISTING)],
      ] as const) {
        await bench.json(['restore', id, '--to', `zfs:${home}/${name}`], { env: env() });
        expect(await shell(`${home}/${name}`, LISTING)).toBe(listing);
      }
      const pipe = await bench.start(['restore', done.snapshot_id, '--to', '-']);
      const input = pipe.stdout;
      await run({ file: 'zfs', args: ['receive', '-u', `${home}/piped`], env: zfs.environment, input });
      await pipe.finished;
      expect(await shell(`${home}/piped`, LISTING)).toBe(was);
    },
    PATIENCE,
  );

  test(
    'cannot become an image: a file gets the streams, other storages refuse with the way out',
    async () => {
      const { status, stderr } = await bench.run(['restore', second.snapshot_id, '--to', 'rbd:rbd/x'], {
        env: env(),
      });
      expect(status).toBe(1);
      expect(stderr).toMatch(/a chain of ZFS send streams, which the rbd driver cannot receive/);
    },
    PATIENCE,
  );
});
