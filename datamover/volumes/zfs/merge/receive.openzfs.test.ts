import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../../../e2e/servers/describe-peers.ts';
import { startOpenZfs, type OpenZfs } from '../../../../e2e/servers/openzfs.ts';
import { run } from '../../../process/spawn.ts';
import { seededRandom } from '../../../repository/testing/bytes.ts';
import { datasetStep } from '../../../transfer/testing/zfs-workload.ts';
import { fixtureBytes, volumeSnapshot } from '../testing/fixtures.ts';
import { readStream } from '../testing/reading.ts';
import { guidOf, sent } from '../testing/sending.ts';
import { DatasetModel } from './testing/dataset-model.ts';
import { merged } from './testing/merging.ts';

const PATIENCE = 600_000;
/** The number of a mounted snapshot's root is not the dataset's. */
const LISTING = `stat -c "%f %u:%g %s %Y %h" .; find . -mindepth 1 -exec stat -c "%n %i %f %u:%g %s %Y %h" {} + | sort;
  find . -type l -exec readlink {} \\; | sort; find . -type f -exec sha256sum {} + | sort; find . -exec getfattr -h -d -m - {} + | sort`;
const STEPS = 36;
const STEPS_PER_MERGE = 18;
const RAW_STEPS = 6;

describePeer('openzfs', 'merged chains at a real zfs receive', () => {
  let zfs: OpenZfs;
  let home: string;

  beforeAll(async () => {
    zfs = await startOpenZfs();
    home = `${zfs.pool}/merge-test`;
    await zfs.zfs('create', home);
  }, PATIENCE);
  afterAll(async () => {
    await zfs.zfs('destroy', '-R', home);
    await zfs.stop();
  }, PATIENCE);

  const receive = (target: string, stream: Uint8Array): Promise<unknown> =>
    run({
      file: 'zfs',
      args: ['receive', '-u', target],
      env: zfs.environment,
      input: Readable.from([stream]),
    });
  const shell = async (script: string): Promise<string> =>
    (await zfs.run('sh', '-ec', `exec 2>/dev/null; ${script}`)).stdout;
  /** Of all files of each snapshot: names, numbers, modes, times, links, attributes and digests. */
  const listings = async (...snapshots: string[]): Promise<string[]> => {
    const list = `mount -t zfs -o ro $s /tmp/merge-test; cd /tmp/merge-test; { ${LISTING}; } | sha256sum; cd /; umount /tmp/merge-test`;
    const sums = await shell(`mkdir -p /tmp/merge-test; for s in ${snapshots.join(' ')}; do ${list}; done`);
    return sums.match(/^[0-9a-f]{64}/gm) ?? [];
  };

  test(
    'files: each part of a chain is what the chain was, and the next increment fits',
    async () => {
      const chain = ['fs-full', 'fs-inc1', 'fs-inc2', 'fs-inc3', 'fs-inc4'].map(fixtureBytes);
      for (const stream of chain) await receive(`${home}/chain`, stream);
      for (const i of [2, 4]) {
        const increment = chain[i]!;
        const target = `${home}/part${i}`;
        await receive(target, await merged(chain.slice(0, i)));
        const snapshots = [`${target}@s${i - 1}`, `${home}/chain@s${i - 1}`] as const;
        expect(await guidOf(zfs, snapshots[0])).toBe(await guidOf(zfs, snapshots[1]));
        await receive(target, increment);
        const [part, after, whole, wholeAfter] = await listings(
          ...[snapshots[0], `${target}@s${i}`, snapshots[1], `${home}/chain@s${i}`],
        );
        expect(part).toMatch(/^\w{64}$/);
        expect([i, part, after]).toEqual([i, whole, wholeAfter]);
      }
    },
    PATIENCE,
  );

  test(
    'volumes: the device is what it was, and the next increment fits',
    async () => {
      const chain = ['zvol-ext4-full', ...[1, 2, 3, 4].map((i) => `zvol-ext4-inc${i}`)].map(fixtureBytes);
      const target = `${home}/volume`;
      await receive(target, await merged(chain.slice(0, 3)));
      const digest = async (): Promise<string> =>
        (await shell(`sha256sum ${await zfs.device(target)}`)).slice(0, 64);
      expect(await digest()).toBe(volumeSnapshot('ext4', 's2').sha256);
      await receive(target, chain[3]!);
      await receive(`${home}/grown`, await merged(chain));
      expect(await guidOf(zfs, `${home}/grown@s4`)).toBe(volumeSnapshot('ext4', 's4').guid);
      const [, grown] = [await digest(), await shell(`sha256sum ${await zfs.device(`${home}/grown`)}`)];
      expect(grown.slice(0, 64)).toBe(volumeSnapshot('ext4', 's4').sha256);
      expect(await digest()).toBe(volumeSnapshot('ext4', 's3').sha256);
    },
    PATIENCE,
  );

  test(
    'raw streams: the key opens what was merged, files and volume, and the next increment fits',
    async () => {
      const source = `${home}/secret`;
      await shell('echo long-enough-passphrase > /tmp/merge-key');
      const key = ['-o', 'keyformat=passphrase', '-o', 'keylocation=file:///tmp/merge-key'];
      await zfs.zfs(
        'create',
        '-o',
        'encryption=on',
        ...key,
        '-o',
        'xattr=sa',
        '-o',
        'dnodesize=auto',
        source,
      );
      const random = seededRandom(7);
      const lines = Array.from({ length: RAW_STEPS }, (_, i) => {
        const steps = Array.from({ length: 4 }, () => datasetStep(random)).join('; ');
        return `( ${SPECIAL[i * 2] ?? 'true'}; ${SPECIAL[i * 2 + 1] ?? 'true'} ) || true; ${steps}; zfs snapshot ${source}@s${i}`;
      });
      await shell(`D=${source}; cd /${source}\n${lines.join('\n')}`);
      const chain: Buffer[] = [];
      for (let i = 0; i < RAW_STEPS; i++)
        chain.push(await sent(zfs, '-w', ...(i === 0 ? [] : ['-i', `@s${i - 1}`]), `${source}@s${i}`));
      const target = `${home}/opened`;
      const last = RAW_STEPS - 1;
      await receive(target, await merged(chain.slice(0, last)));
      await receive(target, chain[last]!);
      await receive(`${home}/opened-last`, await merged(chain));
      const volume = `${home}/opened-volume`;
      await receive(volume, await merged([fixtureBytes('enc-vol-full-w'), fixtureBytes('enc-vol-inc1-w')]));
      await shell(`echo ${'5a'.repeat(32)} > /tmp/merge-hex; zfs load-key -L file:///tmp/merge-hex ${volume}
        for d in ${target} ${home}/opened-last; do zfs load-key -L file:///tmp/merge-key $d; done`);
      const was = await listings(`${source}@s${last - 1}`, `${source}@s${last}`);
      expect(was).toHaveLength(2);
      expect(await listings(`${target}@s${last - 1}`, `${target}@s${last}`)).toEqual(was);
      expect(await listings(`${home}/opened-last@s${last}`)).toEqual(was.slice(1));
      const real = await sent(zfs, '-w', `${source}@s${last}`);
      expect(new DatasetModel().receive(await merged(chain)).content()).toEqual(
        new DatasetModel().receive(real).content(),
      );
      const digest = await shell(`sha256sum ${await zfs.device(volume)}`);
      expect(digest.slice(0, 64)).toBe(volumeSnapshot('enc/vol', 's1').sha256);
    },
    PATIENCE,
  );

  test(
    `random changes: ${STEPS} streams, merged and received after each ${STEPS_PER_MERGE}, and at last as zfs sends it in full`,
    async () => {
      const random = seededRandom(20261127);
      const source = `${home}/random`;
      await zfs.zfs('create', '-o', 'recordsize=16k', '-o', 'xattr=sa', '-o', 'dnodesize=auto', source);
      const lines = Array.from(
        { length: STEPS },
        (_, i) =>
          `( ${SPECIAL[i] ?? 'true'} ) || true; ${datasetStep(random)}; ${datasetStep(random)}; zfs snapshot ${source}@s${i}`,
      );
      await shell(`D=${source}; cd /${source}\n${lines.join('\n')}`);
      const chain: Buffer[] = [];
      for (let i = 0; i < STEPS; i++) {
        const from = i === 0 ? [] : ['-i', `@s${i - 1}`];
        chain.push(await sent(zfs, '-L', '-c', ...from, `${source}@s${i}`));
      }
      // The steps did what they are there for.
      const records = chain.map((stream) => readStream(stream).map(({ record }) => record));
      expect(records.filter((all) => all.some(({ type }) => type === 'SPILL')).length).toBeGreaterThan(5);
      const large = records.map(([begin]) => begin?.type === 'BEGIN' && begin.features.has('large-blocks'));
      expect([large[0], large.at(-1)]).toEqual([false, true]);
      for (let length = STEPS_PER_MERGE; length <= STEPS; length += STEPS_PER_MERGE) {
        const target = `${home}/random${length}`;
        await receive(target, await merged(chain.slice(0, length)));
        const next = chain[length];
        if (next !== undefined) await receive(target, next);
        const names = [length - 1, ...(next === undefined ? [] : [length])];
        const was = await listings(...names.map((name) => `${source}@s${name}`));
        expect(was).toHaveLength(names.length);
        expect([length, await listings(...names.map((name) => `${target}@s${name}`))]).toEqual([length, was]);
      }
      const one = await merged(chain);
      // A merged stream and the increments behind it are a chain again.
      expect((await merged([await merged(chain.slice(0, 20)), ...chain.slice(20)])).equals(one)).toBe(true);
      const real = await sent(zfs, '-L', '-c', `${source}@s${STEPS - 1}`);
      expect(new DatasetModel().receive(one).content()).toEqual(new DatasetModel().receive(real).content());
      // Holes that zfs send names again are not named: a new dataset has nothing there.
      const told = (stream: Buffer): unknown[] =>
        readStream(stream).flatMap(({ record }) =>
          record.type === 'FREE' && record.length !== Infinity ? [] : [record],
        );
      expect(told(one)).toEqual(told(real));
    },
    PATIENCE,
  );
});

/** What the random steps hardly ever do: attributes that spill, large folders and files, other sizes of records and dnodes. */
const SPECIAL: Readonly<Record<number, string>> = {
  1: 'mkdir -p s; echo 1 > s/a; setfattr -n user.big -v "$(head -c 1500 /dev/urandom | base64 | tr -d \'\\n\')" s/a || true',
  2: 'mkdir m; for k in $(seq 220); do echo $k > m/a-name-that-is-rather-long-$k; done',
  3: 'for k in 1 2 3 4; do head -c $((k * 700)) /dev/urandom > s/grow$k; done; setfattr -n user.big -v "$(head -c 1500 /dev/urandom | base64 | tr -d \'\\n\')" s/grow2 || true',
  4: 'setfattr -n user.more -v "$(head -c 1500 /dev/urandom | base64 | tr -d \'\\n\')" s/a || true; head -c 400000 /dev/urandom > s/b',
  5: 'for k in 1 2 3; do head -c $((k * k * 3000)) /dev/urandom >> s/grow$k; done; truncate -s 12000 s/grow4',
  6: 'rm -r m; zfs set recordsize=128k $D; for k in 1 2 3; do head -c 500000 /dev/urandom > s/c$k; done',
  7: 'chmod 600 s/a; rm s/b s/c2',
  8: 'head -c 60000 /dev/urandom >> s/grow1; head -c 200000 /dev/urandom >> s/grow4',
  10: 'zfs set dnodesize=legacy $D; for k in $(seq 40); do head -c 20000 /dev/urandom > s/d$k; done',
  12: 'setfattr -x user.more s/a || true; setfattr -x user.big s/a || true',
  14: 'rm s/d*; zfs set recordsize=4k $D; for k in $(seq 12); do head -c 90000 /dev/urandom > s/e$k; done',
  17: 'zfs set dnodesize=auto $D; rm s/e*; mkdir m; for k in $(seq 90); do ln -s a-target-that-is-far-too-long-for-the-dnode-of-a-link-to-hold-by-itself-and-so-goes-elsewhere-$k m/l$k; done',
  20: 'zfs set recordsize=1M $D; head -c 2500000 /dev/urandom > s/large; cp s/large s/other; head -c 131072 /dev/urandom > s/edge; head -c 100000 /dev/urandom > s/under',
  21: 'for f in edge under; do head -c 700000 /dev/urandom >> s/$f; done',
  22: 'rm -r m s/other; dd if=/dev/urandom of=s/large bs=4k count=1 seek=300 conv=notrunc; touch s/a',
  25: 'dd if=/dev/null of=s/large bs=1 seek=1200000; for k in $(seq 30); do echo $k > s/f$k; done',
  28: 'setfattr -n user.again -v "$(head -c 1800 /dev/urandom | base64 | tr -d \'\\n\')" s/f3 || true; rm s/f1*',
  31: 'rm s/large; zfs set recordsize=32k $D; head -c 200000 /dev/urandom > s/g; zfs set compression=zstd $D',
  33: 'truncate -s 8M s/g; dd if=/dev/urandom of=s/g bs=32k count=2 seek=100 conv=notrunc; rm s/f4',
};
