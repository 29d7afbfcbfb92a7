import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { run } from '../../process/spawn.ts';
import { dataExtents } from './extents.ts';
import { PipeTarget } from './pipe.ts';
import { openImage } from './source.ts';
import { FileTarget, planFileTarget } from './target.ts';

/** Filesystems keep holes in blocks of their own; none in use has larger ones than this. */
const BLOCK = 65536;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'datamover-file-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function sparse(name: string, bytes: number, dataAt: readonly number[]): Promise<string> {
  const path = join(folder, name);
  const file = await open(path, 'w');
  await file.truncate(bytes);
  for (const offset of dataAt)
    await file.write(Buffer.alloc(BLOCK, 7), 0, Math.min(BLOCK, bytes - offset), offset);
  await file.close();
  return path;
}

describe('dataExtents', () => {
  test('hold all data, ascend, lie inside of the file, and leave out what is a hole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 200 * BLOCK }),
        fc.array(fc.nat(199), { maxLength: 8 }),
        async (bytes, blocks) => {
          const at = blocks.map((block) => block * BLOCK).filter((offset) => offset < bytes);
          const path = await sparse('extents', bytes, at);
          const image = openImage(path);
          const extents = dataExtents(image.fd, bytes);
          image.close();
          let end = 0;
          for (const { offset, length } of extents) {
            expect(offset).toBeGreaterThanOrEqual(end);
            expect(length).toBeGreaterThan(0);
            end = offset + length;
          }
          expect(end).toBeLessThanOrEqual(bytes);
          for (const offset of at) {
            const last = Math.min(offset + BLOCK, bytes) - 1;
            for (const byte of [offset, last]) {
              expect(
                extents.some((extent) => byte >= extent.offset && byte < extent.offset + extent.length),
              ).toBe(true);
            }
          }
          const data = extents.reduce((sum, { length }) => sum + length, 0);
          expect(data).toBeLessThanOrEqual(new Set(at).size * BLOCK);
        },
      ),
      { numRuns: 30 },
    );
  });

  test('in units of 1 MiB: the same units hold data, whatever the holes, and there are no more extents than units', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 200 * BLOCK }),
        fc.array(fc.nat(199), { maxLength: 100 }),
        async (bytes, blocks) => {
          const at = blocks.map((block) => block * BLOCK).filter((offset) => offset < bytes);
          const image = openImage(await sparse('units', bytes, at));
          const units = (grain: number): number[] => {
            const found = new Set<number>();
            for (const { offset, length } of dataExtents(image.fd, bytes, grain)) {
              for (let unit = offset >>> 20; unit << 20 < offset + length; unit++) found.add(unit);
            }
            return [...found];
          };
          const coarse = dataExtents(image.fd, bytes, 1 << 20);
          expect(units(1 << 20)).toEqual(units(1));
          expect(coarse.length).toBeLessThanOrEqual(Math.ceil(bytes / (1 << 20)));
          for (const { offset, length } of coarse) expect(offset + length).toBeLessThanOrEqual(bytes);
          image.close();
        },
      ),
      { numRuns: 50 },
    );
  });

  test('find data beyond 4 GiB and in a file of 1 TiB', async () => {
    const offsets = [5 * 2 ** 30, 700 * 2 ** 30];
    const image = openImage(await sparse('terabyte', 2 ** 40, offsets));
    expect(image.bytes).toBe(2 ** 40);
    expect(image.extents().map(({ offset }) => offset)).toEqual(offsets);
    image.close();
  });

  test('an empty file has none', async () => {
    const image = openImage(await sparse('empty', 0, []));
    expect(image.extents()).toEqual([]);
    expect(image.bytes).toBe(0);
    image.close();
  });
});

describe('openImage', () => {
  test('refuses what is no image, in one sentence', async () => {
    expect(() => openImage(join(folder, 'nowhere'))).toThrow(
      /nowhere: no such file or device \(check the path\)/,
    );
    expect(() => openImage(folder)).toThrow(/it is a directory/);
    expect(() => openImage('/dev/null')).toThrow(/neither a regular file nor a block device/);
    const fifo = join(folder, 'fifo');
    await run({ file: 'mkfifo', args: [fifo] });
    const keeper = openSync(fifo, constants.O_RDWR);
    expect(() => openImage(fifo)).toThrow(/a pipe goes through --stdin/);
    closeSync(keeper);
  });
});

describe('planFileTarget', () => {
  test('takes a new file, and one that exists only with force', async () => {
    const path = join(folder, 'target');
    expect(await planFileTarget(path, 10, false)).toEqual({
      location: path,
      bytes: 10,
      action: 'create',
      kind: 'new-file',
    });
    await writeFile(path, 'precious');
    await expect(planFileTarget(path, 10, false)).rejects.toThrow(
      /the file exists and has 8 bytes \(use --force/,
    );
    expect(await planFileTarget(path, 10, true)).toEqual({
      location: path,
      bytes: 10,
      action: 'overwrite',
      kind: 'existing-file',
    });
    expect(await readFile(path, 'utf8')).toBe('precious');
  });

  test('follows links, as devices are mostly named by them, and takes no link that leads nowhere', async () => {
    const link = join(folder, 'link');
    await symlink('linked', link);
    await expect(FileTarget.open(await planFileTarget(link, 10, true))).rejects.toThrow(/restore to .*link/);
    await writeFile(join(folder, 'linked'), 'x');
    expect(await planFileTarget(link, 10, true)).toEqual({
      location: join(await realpath(folder), 'linked'),
      bytes: 10,
      action: 'overwrite',
      kind: 'existing-file',
    });
  });

  test('refuses folders and character devices even with force', async () => {
    await expect(planFileTarget(folder, 10, true)).rejects.toThrow(
      /neither a regular file nor a block device/,
    );
    await expect(planFileTarget('/dev/full', 10, true)).rejects.toMatchObject({ kind: 'usage' });
  });
});

describe('FileTarget', () => {
  test('what is never written is zero, whatever was there; the size is exact', async () => {
    const path = join(folder, 'overwritten');
    await writeFile(path, Buffer.alloc(3 * BLOCK, 9));
    const target = await FileTarget.open(await planFileTarget(path, 2 * BLOCK + 5, true));
    expect(target.startsAsZeros).toBe(true);
    await target.write(BLOCK, Buffer.from('here'));
    await target.writeZeros(BLOCK + 2, 2);
    await target.finish();
    await target.close();
    const expected = Buffer.alloc(2 * BLOCK + 5);
    expected.write('he', BLOCK);
    expect(Buffer.compare(await readFile(path), expected)).toBe(0);
  });

  test('stays sparse where nothing is written', async () => {
    const path = join(folder, 'sparse-target');
    const target = await FileTarget.open(await planFileTarget(path, 2 ** 30, false));
    await target.write(2 ** 29, Buffer.alloc(10, 1));
    await target.finish();
    await target.close();
    const { size, blocks } = await stat(path);
    expect(size).toBe(2 ** 30);
    expect(blocks * 512).toBeLessThanOrEqual(2 * BLOCK);
  });

  test('discard removes the file that it made, never one that was there', async () => {
    const [made, existing] = [join(folder, 'made'), join(folder, 'existing')];
    await writeFile(existing, 'x');
    await (await FileTarget.open(await planFileTarget(made, 5, false))).discard();
    await (await FileTarget.open(await planFileTarget(existing, 5, true))).discard();
    await expect(stat(made)).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await stat(existing)).size).toBe(5);
  });

  test('a file that appears between plan and start is not taken', async () => {
    const path = join(folder, 'raced');
    const plan = await planFileTarget(path, 5, false);
    await writeFile(path, 'somebody else');
    await expect(FileTarget.open(plan)).rejects.toThrow(/restore to .*raced/);
    expect(await readFile(path, 'utf8')).toBe('somebody else');
  });

  test('says what is wrong with the folder and with the size', async () => {
    const nowhere = join(folder, 'no', 'such', 'file');
    await expect(
      FileTarget.open({ location: nowhere, bytes: 1, action: 'create', kind: 'new-file' }),
    ).rejects.toThrow(/the folder does not exist \(create it first\)/);
    const huge = join(folder, 'huge');
    await expect(
      FileTarget.open({ location: huge, bytes: 2 ** 52, action: 'create', kind: 'new-file' }),
    ).rejects.toThrow(/a file of 4503599627370496 bytes is too large here/);
    await expect(stat(huge)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('PipeTarget', () => {
  test('says that the reader has gone', async () => {
    await mkdir(join(folder, 'pipes'));
    const fifo = join(folder, 'pipes', 'fifo');
    await run({ file: 'mkfifo', args: [fifo] });
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(fifo, constants.O_WRONLY);
    const pipe = new PipeTarget(writer);
    await pipe.write(Buffer.from('some bytes'));
    closeSync(reader);
    await expect(pipe.write(Buffer.from('more'))).rejects.toThrow(/the pipe: its reader has gone/);
    closeSync(writer);
  });

  test('writes all of it to a pipe that is full and does not block', async () => {
    const fifo = join(folder, 'slow');
    await run({ file: 'mkfifo', args: [fifo] });
    const keeper = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    const writer = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    const content = Buffer.alloc(1 << 20, 'abcdefg');
    const reading = run({ file: 'head', args: ['-c', String(content.length), fifo] });
    await new PipeTarget(writer).write(content);
    expect((await reading).stdout).toBe(content.toString());
    closeSync(writer);
    closeSync(keeper);
  });
});
