import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { startOpenZfs, type OpenZfs } from '../../../e2e/servers/openzfs.ts';
import { run, start } from '../../process/spawn.ts';
import type { StoredStream } from '../driver.ts';
import { planReceive, receiveStreams } from './receive.ts';
import { guidOf, sent, stored, useZfs } from './testing/sending.ts';

/** Files of many sizes, holes, links and attributes; then changes to them. */
const FILES = `
  mkdir -p a/b; for i in $(seq 24); do head -c $((i * 1500)) /dev/urandom > a/f$i; done
  dd if=/dev/urandom of=big bs=128k count=6; dd if=/dev/zero of=big bs=1 count=1 seek=9000000
  setfattr -n user.note -v hello a/f3; ln -s a/f3 link; ln a/f4 a/b/f4; chmod 741 a/f5`;
const CHANGES = `
  rm a/f1[0-9]; head -c 200000 /dev/urandom > a/b/new; dd if=/dev/urandom of=big bs=4k count=3 seek=100 conv=notrunc
  dd if=/dev/null of=a/f20 bs=1 seek=100; mv a/f21 a/b/; mkdir c; for i in $(seq 12); do head -c 9000 /dev/urandom > c/g$i; done`;
const LISTING = 'find . -exec stat -c "%n %f %s %Y" {} + | sort; find . -type f -exec sha256sum {} + | sort';

describePeer('openzfs', 'receiving stored streams', () => {
  let zfs: OpenZfs;
  let home: string;
  let streams: StoredStream[];
  let bytes: Buffer[];
  let files: string;

  beforeAll(async () => {
    zfs = await startOpenZfs();
    useZfs(zfs);
    home = `${zfs.pool}/receive-test`;
    const source = `${home}/source`;
    await zfs.zfs('create', '-p', '-o', 'recordsize=32k', '-o', 'compression=lz4', source);
    const shell = (script: string) => zfs.run('sh', '-ec', `cd /${source} && { ${script}; } 2>/dev/null`);
    await shell(FILES);
    await zfs.zfs('snapshot', `${source}@one`);
    await shell(CHANGES);
    await zfs.zfs('snapshot', `${source}@two`);
    files = await listing(source);
    bytes = [
      await sent(zfs, '-L', '-c', `${source}@one`),
      await sent(zfs, '-L', '-c', '-i', '@one', `${source}@two`),
    ];
    const [one, two] = [await guidOf(zfs, `${source}@one`), await guidOf(zfs, `${source}@two`)];
    streams = [stored(one, bytes[0]!), stored(two, bytes[1]!, one)];
  }, 240_000);

  afterAll(async () => {
    await zfs.zfs('destroy', '-R', home);
    await zfs.stop();
  }, 120_000);

  /** `zfs receive -s` of the beginning of a stream: what is left of a restore that was killed. */
  const interrupted = async (target: string, stream: Buffer, length: number): Promise<void> => {
    const input = stream.subarray(0, length);
    const { stderr } = await run({ file: 'zfs', args: ['receive', '-s', '-u', target], input, accept: [1] });
    expect(stderr).toMatch(/incomplete stream|partially/);
  };
  const listing = async (dataset: string): Promise<string> => {
    await zfs.run('sh', '-c', `mount | grep -q ' /${dataset} ' || zfs mount ${dataset}`);
    return (await zfs.run('sh', '-ec', `cd /${dataset} && { ${LISTING}; }`)).stdout;
  };
  const expectWhole = async (target: string): Promise<void> => {
    expect(await guidOf(zfs, `${target}@two`)).toBe(streams[1]!.guid);
    expect(await listing(target)).toBe(files);
  };

  test('receives a chain with the properties that were set, a quota last', async () => {
    const target = `${home}/chain`;
    const properties = {
      recordsize: { value: '32768', source: 'local' },
      compression: { value: 'zstd', source: 'inherited' },
      quota: { value: '1073741824', source: 'local' },
    };
    const plan = await planReceive(target, { streams, record: { properties, referencedBytes: 1_000_000 } });
    expect(plan).toMatchObject({
      location: target,
      properties: { recordsize: '32768', quota: '1073741824' },
    });
    let handedOver = 0;
    await receiveStreams(plan, (count) => (handedOver += count));
    expect(handedOver).toBe(bytes[0]!.length + bytes[1]!.length);
    await expectWhole(target);
    const values = await zfs.zfs('get', '-Hpo', 'value', 'recordsize,compression,quota', target);
    expect(values.split('\n').slice(0, 3)).toEqual(['32768', 'on', '1073741824']);
    expect(await zfs.zfs('get', '-Ho', 'value', 'datamover.io:receiving', target)).toBe('-\n');
  }, 120_000);

  test('touches no dataset that is not of a restore, whatever it has of the backup', async () => {
    const target = `${home}/live`;
    await receiveStreams(await planReceive(target, { streams: streams.slice(0, 1) }));
    const record = { properties: { quota: { value: '1073741824', source: 'local' } } };
    for (const force of [false, true]) {
      // Nobody uses it, and nothing changed: it is not ours all the same.
      await expect(planReceive(target, { streams, force })).rejects.toThrow(/no restore has begun it/);
      // What was backed up, with damaged files: it has the last snapshot.
      await expect(planReceive(`${home}/source`, { streams, record, force })).rejects.toThrow(
        /source@two of this backup, and no restore has begun it .*zfs rollback .*source@two/,
      );
    }
  }, 120_000);

  test('goes on between two streams and after the last one, while nobody uses the dataset', async () => {
    for (const force of [false, true]) {
      const target = `${home}/between-${force}`;
      if (force) await zfs.zfs('create', '-o', 'canmount=noauto', target);
      const cut = stored(streams[1]!.guid, bytes[1]!.subarray(0, 100), streams[0]!.guid);
      const broken = await planReceive(target, { streams: [streams[0]!, cut], force });
      await expect(receiveStreams(broken)).rejects.toThrow();
      const rest = await planReceive(target, { streams, force });
      expect(rest).toMatchObject({ action: 'resume', streams: streams.slice(1) });
      await zfs.zfs('mount', target);
      await expect(planReceive(target, { streams, force })).rejects.toThrow(/it is mounted/);
      await zfs.run('sh', '-c', `echo mine > /${target}/mine; sync; zfs unmount ${target}`);
      await expect(planReceive(target, { streams, force })).rejects.toThrow(/it has changed since .*@one/);
      await zfs.zfs('rollback', `${target}@one`);
      await receiveStreams(await planReceive(target, { streams }));
      // As if it had been killed before its last step.
      await zfs.zfs('set', `datamover.io:receiving=${streams[1]!.guid}`, target);
      const end = await planReceive(target, { streams });
      expect(end).toMatchObject({ action: 'resume', streams: [] });
      await receiveStreams(end);
      await expectWhole(target);
    }
  }, 240_000);

  test('does not end well with another newest snapshot than the backup’s last', async () => {
    const target = `${home}/wrong`;
    const plan = await planReceive(target, { streams });
    await expect(receiveStreams({ ...plan, streams: streams.slice(0, 1) })).rejects.toThrow(
      /its newest snapshot is .*wrong@one when all is received/,
    );
  }, 120_000);

  test('goes on with an interrupted stream wherever it was cut', async () => {
    const full = bytes[0]!;
    const cuts = [0.1, 0.6].map((part) => Math.floor(full.length * part));
    for (const [index, cut] of [...cuts, full.length - 1].entries()) {
      const target = `${home}/cut${index}`;
      await interrupted(target, full, cut);
      const plan = await planReceive(target, { streams });
      expect(plan).toMatchObject({ streams, resume: { toGuid: streams[0]!.guid, fromGuid: undefined } });
      await receiveStreams(plan);
      await expectWhole(target);
    }
  }, 240_000);

  test('goes on with an interrupted increment', async () => {
    const increment = bytes[1]!;
    const target = `${home}/increment`;
    await receiveStreams(await planReceive(target, { streams: streams.slice(0, 1) }));
    await interrupted(target, increment, Math.floor(increment.length * 0.6));
    const plan = await planReceive(target, { streams });
    expect(plan.streams).toEqual(streams.slice(1));
    expect(plan.resume).toMatchObject({ toGuid: streams[1]!.guid, fromGuid: streams[0]!.guid });
    await receiveStreams(plan);
    await expectWhole(target);
  }, 180_000);

  test('goes on after zfs receive was killed', async () => {
    const target = `${home}/killed`;
    const receive = await start({
      file: 'zfs',
      args: ['receive', '-s', '-u', target],
      input: slowly(bytes[0]!),
    });
    const state = () => zfs.zfs('get', '-Hpo', 'value', 'receive_resume_token', target).catch(() => '-');
    while ((await state()).trim().length < 10) continue;
    process.kill(receive.pid, 'SIGKILL');
    await expect(receive.finished).rejects.toThrow(/SIGKILL/);
    await receiveStreams(await planReceive(target, { streams }));
    await expectWhole(target);
  }, 120_000);

  test('goes on with a raw stream, and with a volume’s', async () => {
    const encrypted = `${home}/encrypted`;
    const key = [
      '-o',
      'encryption=on',
      '-o',
      'keyformat=passphrase',
      '-o',
      'keylocation=file:///tmp/receive-key',
    ];
    await zfs.run('sh', '-c', 'echo long-enough-passphrase > /tmp/receive-key');
    await zfs.zfs('create', ...key, encrypted);
    await zfs.run('sh', '-ec', `cd /${encrypted} && { ${FILES}; } 2>/dev/null`);
    await zfs.zfs('create', '-s', '-V', '16M', `${home}/vol`);
    const device = await zfs.device(`${home}/vol`);
    await zfs.run('dd', 'if=/dev/urandom', `of=${device}`, 'bs=64k', 'count=20', 'seek=20', 'conv=fsync');
    await zfs.zfs('snapshot', `${home}/vol@one`, `${encrypted}@one`);
    for (const [from, flags] of [
      [encrypted, ['-w']],
      [`${home}/vol`, []],
    ] as const) {
      const stream = await sent(zfs, ...flags, `${from}@one`);
      const guid = await guidOf(zfs, `${from}@one`);
      const target = `${from}-restored`;
      await interrupted(target, stream, Math.floor(stream.length * 0.55));
      const plan = await planReceive(target, { streams: [stored(guid, stream)] });
      expect(plan.resume?.bytes).toBeGreaterThan(0);
      await receiveStreams(plan);
      expect(await sent(zfs, ...flags, `${target}@one`)).toHaveLength(stream.length);
    }
    await zfs.zfs('load-key', '-L', 'file:///tmp/receive-key', `${encrypted}-restored`);
    expect(await listing(`${encrypted}-restored`)).toBe(await listing(encrypted));
    const sum = async (path: string) => (await zfs.run('sha256sum', path)).stdout.slice(0, 64);
    expect(await sum(await zfs.device(`${home}/vol-restored`))).toBe(await sum(device));
  }, 180_000);

  test('refuses what is there, what is too full, and what waits for another stream', async () => {
    await expect(
      planReceive(`${home}/source`, { streams: [{ ...streams[0]!, guid: '77' }] }),
    ).rejects.toThrow(/source@two, which is none of this backup/);
    await zfs.zfs('create', `${home}/empty`);
    await expect(planReceive(`${home}/empty`, { streams })).rejects.toThrow(/it exists/);
    await interrupted(`${home}/other`, bytes[0]!, 300_000);
    await expect(planReceive(`${home}/other`, { streams: [{ ...streams[0]!, guid: '77' }] })).rejects.toThrow(
      /zfs receive -A/,
    );
    const record = { referencedBytes: 2 ** 40 };
    await expect(planReceive(`${home}/large`, { streams, record })).rejects.toThrow(/has \d+ available/);
    await expect(planReceive(zfs.pool, { streams })).rejects.toThrow(
      /none of this backup|it exists|it is a pool/,
    );
    await expect(planReceive(`${home}/no/where`, { streams })).rejects.toThrow(/there is no .*\/no /);
    await expect(planReceive('-o/x', { streams })).rejects.toThrow(/no name of a pool/);
  }, 120_000);

  test('hands over nothing of a damaged rest', async () => {
    const target = `${home}/damaged`;
    await interrupted(target, bytes[0]!, Math.floor(bytes[0]!.length * 0.5));
    const damaged = Buffer.from(bytes[0]!);
    const at = Math.floor(damaged.length * 0.7);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    const plan = await planReceive(target, { streams: [stored(streams[0]!.guid, damaged)] });
    await expect(receiveStreams(plan)).rejects.toThrow(/checksum/);
    await receiveStreams(await planReceive(target, { streams }));
    await expectWhole(target);
  }, 120_000);
});

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes.subarray(0, bytes.length - 5000);
  // The rest never comes: whoever reads waits until it is killed.
  await new Promise(() => undefined);
}

function slowly(bytes: Buffer): Readable {
  return Readable.from(pieces(bytes), { objectMode: false });
}
