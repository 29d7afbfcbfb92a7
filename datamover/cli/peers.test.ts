import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { run } from '../process/spawn.ts';
import { Workbench } from './testing/command.ts';

type Fields = Record<string, unknown>;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('with other programs', () => {
  for (const name of ['restic-debian', 'restic-current'] as const) {
    describePeer(name, `${name} and the command on one repository`, (restic) => {
      let bench: Workbench;
      const peer = async (...args: string[]): Promise<string> =>
        (await run({ file: restic.file, args: ['--no-cache', ...args], env: bench.environment() })).stdout;

      beforeAll(async () => {
        bench = await Workbench.create();
        await bench.json(['init']);
        await bench.image('disk.img', 3);
        await truncate(bench.path('disk.img'), 8 << 20);
        await bench.json([
          'backup',
          `file:${bench.path('disk.img')}`,
          '--volume',
          'shop/db',
          '--tag',
          'nightly',
        ]);
        const stream = ['backup', '--stdin', '--as', 'stream', '--volume', 'shop/files'];
        await bench.json(stream, { input: 'the whole stream' });
      });
      afterAll(() => bench.remove());

      test('it finds no error in what we wrote', async () => {
        expect(await peer('check', '--read-data')).toContain('no errors were found');
      });

      test('it lists and restores our volumes', async () => {
        const list = JSON.parse(await peer('snapshots', '--json')) as Fields[];
        expect(list.map(({ paths }) => paths)).toEqual([['/shop/db'], ['/shop/files']]);
        await peer('restore', String(list[0]?.['id']), '--target', bench.path('theirs'));
        const image = await readFile(join(bench.path('theirs'), 'image/000000/data'));
        expect(sha256(image)).toBe(sha256(await readFile(bench.path('disk.img'))));
        const [files] = (await bench.json([
          'ls',
          'latest',
          '--volume',
          'shop/files',
          'streams',
        ])) as Fields[][];
        const send = files?.find(({ path }) => String(path).endsWith('/send'))?.['path'];
        expect(await peer('dump', '--path', '/shop/files', 'latest', String(send))).toBe('the whole stream');
      });

      // Debian's cannot rewrite yet. The new summary counts volume.json too.
      if (name === 'restic-current') {
        test('after its rewrite the size of a volume is still right', async () => {
          const sizes = async (): Promise<unknown[]> => {
            const [list] = (await bench.json(['snapshots'])) as Fields[][];
            return (list ?? []).map(({ volume, size }) => [volume, size]);
          };
          const before = await sizes();
          expect(before).toEqual([
            ['shop/db', 8 << 20],
            ['shop/files', 16],
          ]);
          await peer('rewrite', '--forget', '--new-host', 'renamed');
          expect(await sizes()).toEqual(before);
          const [list] = (await bench.json(['snapshots', '--host', 'renamed'])) as Fields[][];
          expect(list).toHaveLength(2);
        });
      }

      test('we list, show, restore and forget what it wrote, and prune beside it', async () => {
        await run({
          file: restic.file,
          args: ['--no-cache', 'backup', '--stdin', '--stdin-filename', 'dump.sql', '--host', 'elsewhere'],
          env: bench.environment(),
          input: 'its own stream',
        });
        const [list] = (await bench.json(['snapshots', '--host', 'elsewhere'])) as Fields[][];
        expect(list).toEqual([expect.objectContaining({ format: 'files', hostname: 'elsewhere' })]);
        expect(list?.[0]).not.toHaveProperty('volume');
        const id = String(list?.[0]?.['id']);
        const [files] = (await bench.json(['ls', id])) as Fields[][];
        expect(files).toEqual([{ path: '/dump.sql', type: 'file', size: 14, blobs: 1 }]);
        await bench.json(['forget', id]);
        await bench.json(['prune']);
        expect(await peer('check', '--read-data')).toContain('no errors were found');
        expect(JSON.parse(await peer('snapshots', '--json'))).toHaveLength(2);
      });

      test('it decides as we do what a policy keeps', async () => {
        const days = [
          '2026-11-01 10:00:00',
          '2026-11-01 22:00:00',
          '2026-11-08 10:00:00',
          '2026-12-24 10:00:00',
        ];
        for (const day of days) {
          await bench.json([
            'backup',
            `file:${bench.path('disk.img')}`,
            '--volume',
            'shop/kept',
            '--time',
            day,
          ]);
        }
        const policy = ['--keep-daily', '2', '--keep-weekly', '1', '--dry-run'];
        const [ours] = (await bench.json(['forget', '--volume', 'shop/kept', ...policy])) as {
          groups: { keep: string[] }[];
        }[];
        const [theirs] = JSON.parse(await peer('forget', '--json', '--path', '/shop/kept', ...policy)) as {
          keep: { id: string }[];
        }[];
        expect(ours?.groups[0]?.keep).toHaveLength(2);
        expect(ours?.groups[0]?.keep.toSorted()).toEqual(theirs?.keep.map(({ id }) => id).toSorted());
      });

      test('its keys open the repository for us, and ours for it', async () => {
        await bench.json(['key', 'add', '--new-password-command', 'echo another one']);
        const env = bench.environment({ RESTIC_PASSWORD: 'another one' });
        const { stdout } = await run({
          file: restic.file,
          args: ['--no-cache', 'key', 'list', '--json'],
          env,
        });
        expect(JSON.parse(stdout)).toHaveLength(2);
      });

      // Once is enough, whoever made the list so long.
      if (name === 'restic-current') {
        test('a list that a pipe does not take at once comes whole to a slow reader', async () => {
          const folder = bench.path('many');
          await mkdir(folder);
          const names = Array.from(
            { length: 3000 },
            (_, i) => `number ${i} ${'has a long name '.repeat(10)}`,
          );
          for (const name of names) await writeFile(join(folder, name), '');
          await peer('backup', '--host', 'with-many', folder);
          const [list] = (await bench.json(['snapshots', '--host', 'with-many'])) as Fields[][];
          const listing = await bench.start(['ls', String(list?.[0]?.['id'])]);
          // It has written what the pipe takes, and has nothing to do but to end.
          await delay(1_000);
          const lines = (await text(listing.stdout)).split('\n');
          await listing.finished;
          expect(names.filter((name) => !lines.some((line) => line.includes(name)))).toEqual([]);
        });
      }
    });
  }
});
