import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import {
  attachLoop,
  mount,
  mountSmallDisk,
  resizeSmallDisk,
  type Borrowed,
} from '../../e2e/servers/kernel.ts';
import { run } from '../process/spawn.ts';
import { seal } from '../repository/crypto/cipher.ts';
import { Repository } from '../repository/repository.ts';
import { openStore } from '../store/location.ts';
import { DATAMOVER, PASSWORD, Workbench } from './testing/command.ts';

const MIB = 1 << 20;

/** One sentence on standard error, nothing on standard output, this exit code. */
async function expectFailure(
  bench: Workbench,
  args: readonly string[],
  code: number,
  sentence: RegExp,
): Promise<void> {
  const { status, stdout, stderr } = await bench.run(args);
  expect(stderr).toMatch(sentence);
  expect(stderr).toMatch(/^datamover: [^\n]+\n$/);
  expect(stdout).toBe('');
  expect(status).toBe(code);
}

describe('a repository of a newer version', () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.image('disk.img', 1);
    await bench.json(['init']);
    const store = await openStore(bench.repository, {});
    const repository = await Repository.open(store, PASSWORD);
    const config = JSON.stringify({ ...repository.config, version: 3, new_field: ['of', 'the', 'future'] });
    await store.remove({ type: 'config', name: '' });
    await store.save({ type: 'config', name: '' }, seal(repository.key, Buffer.from(config)));
    await repository.close();
  });
  afterAll(() => bench.remove());

  test.each([
    ['snapshots'],
    ['backup', 'file:disk.img', '--volume', 'shop/db'],
    ['prune'],
    ['check'],
    ['unlock'],
    ['repair', 'index'],
    ['key', 'list'],
  ])('is refused by %s', async (...args) => {
    const full = args.map((arg) => arg.replace('file:', `file:${bench.folder}/`));
    await expectFailure(
      bench,
      full,
      1,
      /it has format version 3, this program knows 1 and 2 \(use a newer datamover\)/,
    );
  });

  test('and nothing was written into it', async () => {
    const { stdout } = await run({ file: 'find', args: [bench.repository, '-type', 'f'] });
    expect(
      stdout
        .trim()
        .split('\n')
        .filter((path) => !/\/(config|keys\/\w+)$/.test(path)),
    ).toEqual([]);
  });
});

describePeers(['kernel', 'mke2fs', 'restic-current'], 'disks and devices', (_, mke2fs, restic) => {
  let bench: Workbench;
  let disk: Buffer;
  const borrowed: Borrowed[] = [];

  async function borrow(thing: Promise<Borrowed>): Promise<string> {
    const it = await thing;
    borrowed.push(it);
    return it.path;
  }

  async function device(mebibytes: number, options: { readOnly?: boolean } = {}): Promise<string> {
    const file = bench.path(`device-${borrowed.length}`);
    await writeFile(file, Buffer.alloc(mebibytes * MIB, 0x55));
    return borrow(attachLoop(file, options));
  }

  const restoreTo = (path: string, ...more: string[]): string[] => [
    'restore',
    'latest',
    '--volume',
    'shop/db',
    '--to',
    `file:${path}`,
    ...more,
  ];

  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.image('disk.img', 6);
    await truncate(bench.path('disk.img'), 10 * MIB);
    disk = await readFile(bench.path('disk.img'));
    await bench.json(['init']);
    await bench.json(['backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/db']);
  });
  afterEach(async () => {
    for (const thing of borrowed.splice(0).reverse()) await thing.release();
  });
  afterAll(() => bench.remove());

  test('a volume goes onto a device and comes from one, what lies behind it stays', async () => {
    const path = await device(12);
    const [summary] = (await bench.json(restoreTo(path, '--verify'))).slice(-1);
    expect(summary).toMatchObject({ bytes_written: 10 * MIB, bytes_skipped_zero: 0, verified: true });
    const content = await readFile(path);
    expect(content.subarray(0, 10 * MIB).equals(disk)).toBe(true);
    expect(content.subarray(10 * MIB).equals(Buffer.alloc(2 * MIB, 0x55))).toBe(true);
    const [again] = (await bench.json(['backup', `file:${path}`, '--volume', 'shop/device'])).slice(-1);
    const { stderr } = await bench.run(['backup', `file:${path}`, '--volume', 'shop/device']);
    expect(stderr).toBe('');
    expect(again).toMatchObject({ total_bytes_processed: 12 * MIB, bytes_read: 12 * MIB });
  });

  test('a device that is too small is refused, and keeps what it had', async () => {
    const path = await device(8);
    await expectFailure(
      bench,
      restoreTo(path),
      1,
      /restore to \/dev\/loop\d+: the device has 8388608 bytes, the image 10485760 \(choose/,
    );
    expect((await readFile(path)).equals(Buffer.alloc(8 * MIB, 0x55))).toBe(true);
  });

  test('a device in use is refused, and keeps what it had; afterwards it is taken', async () => {
    const path = await device(16);
    await run({ file: mke2fs.file, args: ['-q', '-F', '-t', 'ext4', path] });
    const mounted = await mount(path, bench.path('mounted'));
    try {
      await writeFile(bench.path('mounted/note'), 'still here');
      await expectFailure(
        bench,
        restoreTo(path),
        1,
        /restore to \/dev\/loop\d+: the device is busy \(unmount it/,
      );
      expect(await readFile(bench.path('mounted/note'), 'utf8')).toBe('still here');
      const { status, stderr } = await bench.run(['backup', `file:${path}`, '--volume', 'shop/mounted']);
      expect(stderr).toMatch(
        /^\/dev\/loop\d+ is in use: what changes while it is read may be half in the backup/,
      );
      expect(status).toBe(0);
    } finally {
      await mounted.release();
    }
    await bench.json(restoreTo(path));
    expect((await readFile(path)).subarray(0, 10 * MIB).equals(disk)).toBe(true);
  });

  test('a read-only device is said to be one', async () => {
    const path = await device(12, { readOnly: true });
    await expectFailure(bench, restoreTo(path), 1, /restore to \/dev\/loop\d+: the device is read-only\n/);
  });

  test('a device without a medium is no volume', async () => {
    const path = await device(1);
    await borrowed.pop()?.release();
    await expectFailure(
      bench,
      ['backup', `file:${path}`, '--volume', 'shop/db'],
      1,
      /open volume \/dev\/loop\d+: the device has no medium/,
    );
  });

  test('a restore onto a full disk leaves no file; with room the same command completes', async () => {
    const small = await borrow(mountSmallDisk(bench.path('small'), 4));
    const out = `${small}/out.img`;
    await expectFailure(bench, restoreTo(out), 1, /restore to \S+out\.img: no space left \(free space/);
    await expect(stat(out)).rejects.toMatchObject({ code: 'ENOENT' });
    await resizeSmallDisk(small, 16);
    await bench.json(restoreTo(out, '--verify'));
    expect((await readFile(out)).equals(disk)).toBe(true);
  });

  test('a restore where no file may be that long leaves none', async () => {
    const out = bench.path('long.img');
    const limited = ['-c', 'ulimit -f 1024; exec "$0" "$@"', DATAMOVER, ...restoreTo(out)];
    const { status, stderr } = await run({
      file: 'sh',
      args: limited,
      env: bench.environment(),
      accept: [1],
    });
    expect(stderr).toMatch(
      /^datamover: restore to \S+long\.img: a file of 10485760 bytes is too large here \(/,
    );
    expect(status).toBe(1);
    await expect(stat(out)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a repository on a full disk stays valid; prune works there; with room the same command completes', async () => {
    const place = `${await borrow(mountSmallDisk(bench.path('store'), 24))}/repo`;
    const check = async (): Promise<string> =>
      (
        await run({
          file: restic.file,
          args: ['--no-cache', '-r', place, 'check', '--read-data'],
          env: bench.environment(),
        })
      ).stdout;
    const on = (...args: string[]): string[] => ['-r', place, ...args];
    const large = await bench.image('large.img', 40);
    const backup = on('backup', `file:${bench.path('large.img')}`, '--volume', 'shop/large');
    await bench.json(on('init'));
    await bench.json(on('backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/db'));

    for (let attempt = 0; attempt < 2; attempt++) {
      await expectFailure(bench, backup, 1, /save \S+: no space left on the device \(free space there/);
      expect(await bench.json(on('snapshots', '--volume', 'shop/large'))).toEqual([[]]);
      expect(await bench.json(on('inspect', 'lock'))).toEqual([[]]);
      expect(await check()).toContain('no errors were found');
    }
    await bench.json(on('prune', '--max-unused', 'unlimited'));
    expect(await check()).toContain('no errors were found');

    await resizeSmallDisk(bench.path('store'), 80);
    await bench.json(backup);
    const out = bench.path('large.out');
    await bench.json(on('restore', 'latest', '--volume', 'shop/large', '--to', `file:${out}`));
    expect((await readFile(out)).equals(large)).toBe(true);
    expect(await check()).toContain('no errors were found');
  });
});
