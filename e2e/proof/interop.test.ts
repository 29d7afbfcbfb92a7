import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { writeImage } from '../../datamover/transfer/testing/volumes.ts';
import { noise, prose } from '../../datamover/repository/testing/bytes.ts';
import { describePeer } from '../servers/describe-peers.ts';
import type { Peer, PeerName } from '../servers/peers.ts';
import { hashOf, hashOfSegments, PASSWORD, Site, VOLUME, writeTree } from './site.ts';

jest.setTimeout(180_000);

const MIB = 1 << 20;
const STREAM = 'shop/files';

/** Three backups of an image and one of a stream, with each compression and through `datamover init`. */
async function writeOurs(site: Site): Promise<{ hashes: string[]; stream: string; ids: string[] }> {
  await site.datamover(['init']);
  await site.cheapen();
  const image = await writeImage(site.path('image'), 40 * MIB + 4097, [
    { offset: 0, content: noise('a', 9 * MIB) },
    { offset: 12 * MIB + 5, content: prose('b', 7 * MIB) },
    { offset: 30 * MIB, content: Buffer.alloc(2 * MIB) },
    { offset: 40 * MIB, content: noise('tail', 4097) },
  ]);
  const hashes = [await hashOf(image)];
  const ids = [(await site.backUp(image)).snapshot_id];
  await writeImage(image, 40 * MIB + 4097, [{ offset: 3 * MIB + 17, content: noise('c', 2 * MIB) }]);
  hashes.push(await hashOf(image));
  ids.push((await site.backUp(image, '--compression', 'max')).snapshot_id);
  await writeImage(image, 48 * MIB, [{ offset: 44 * MIB, content: prose('d', 3 * MIB) }]);
  hashes.push(await hashOf(image));
  ids.push((await site.backUp(image, '--compression', 'off')).snapshot_id);

  const stream = site.path('stream');
  await writeFile(stream, Buffer.concat([prose('stream', 11 * MIB), noise('stream', 13 * MIB + 1)]));
  await site.datamover([
    ...['backup', '--volume', STREAM, '--as', 'stream', '--stdin-command', '--', 'cat', stream],
  ]);
  return { hashes, stream: await hashOf(stream), ids };
}

const RESTICS: readonly PeerName[] = ['restic-debian', 'restic-current'];

for (const name of RESTICS) {
  describePeer(name, `${name} and what we write`, (restic) => {
    let site: Site;
    let written: Awaited<ReturnType<typeof writeOurs>>;
    beforeAll(async () => {
      site = await Site.local(name);
      written = await writeOurs(site);
    });
    afterAll(() => site.remove());

    test('F-40 it checks all of it', async () => {
      await site.peer(restic, ['check', '--read-data']);
    });

    test('F-40 it lists the snapshots as ours, and their files', async () => {
      const snapshots = JSON.parse(await site.peer(restic, ['snapshots', '--json'])) as {
        id: string;
        paths: string[];
        tags: string[];
        parent?: string;
      }[];
      expect(snapshots.map(({ id }) => id).slice(0, 3)).toEqual(written.ids);
      expect(snapshots.map(({ paths }) => paths)).toEqual([
        ...written.ids.map(() => [`/${VOLUME}`]),
        [`/${STREAM}`],
      ]);
      expect(snapshots[2]).toMatchObject({ parent: written.ids[1] });
      expect(snapshots[3]?.tags).toEqual([`volume=${STREAM}`, 'driver=stdin', 'format=stream']);
      const files = await site.peer(restic, ['ls', written.ids[0] ?? '']);
      expect(files.split('\n')).toEqual(
        expect.arrayContaining(['/image', '/image/000000', '/image/000000/data', '/volume.json']),
      );
    });

    test('F-35 F-40 it dumps every image and the stream byte for byte', async () => {
      for (const [i, id] of written.ids.entries()) {
        expect(await site.peerHash(restic, ['dump', id, '/image/000000/data'])).toBe(written.hashes[i]);
      }
      const listed = await site.peer(restic, ['ls', 'latest', '--path', `/${STREAM}`]);
      const send = listed.split('\n').find((line) => line.endsWith('/send')) ?? 'no stream';
      expect(await site.peerHash(restic, ['dump', 'latest', '--path', `/${STREAM}`, send])).toBe(
        written.stream,
      );
    });

    test('F-35 F-40 it restores: cat image/*/data is the disk', async () => {
      const target = site.path('theirs');
      await site.peer(restic, ['restore', written.ids[1] ?? '', '--target', target]);
      expect(await hashOfSegments(`${target}/image`)).toBe(written.hashes[1]);
      await rm(target, { recursive: true });
    });

    test('F-31 its own backup of the same stream finds our chunks', async () => {
      const args = ['backup', '--json', '--host', 'other', '--tag', 'theirs', site.path('stream')];
      const summary = JSON.parse((await site.peer(restic, args)).trim().split('\n').at(-1) ?? '') as {
        data_blobs: number;
        data_added: number;
      };
      expect(summary.data_blobs).toBe(0);
      expect(summary.data_added).toBeLessThan(100_000);
    });

    test('F-40 after its tag, rewrite, forget and prune we read everything, and go on', async () => {
      const place = site.beside('maintained');
      await copyFolder(site.location, place.location);
      await place.peer(restic, ['tag', '--add', 'kept', '--path', `/${VOLUME}`]);
      if (name === 'restic-current') {
        await place.peer(restic, ['rewrite', '--new-host', 'elsewhere', '--forget', 'latest']);
        await place.peer(restic, ['repair', 'snapshots', '--forget']);
      }
      // The first backup and the stream go; parts of packs stay.
      await place.peer(restic, ['forget', '--path', `/${VOLUME}`, '--keep-last', '2', '--group-by', 'paths']);
      const [stream] = (await place.json(['snapshots', '--volume', STREAM])) as { id: string }[];
      await place.peer(restic, ['forget', stream?.id ?? '']);
      await place.peer(restic, ['prune', '--max-unused', '0']);
      await place.datamover(['check', '--read-data']);
      const left = (await place.json(['snapshots', '--volume', VOLUME])) as { tags: string[] }[];
      expect(left.length).toBe(2);
      for (const { tags } of left) expect(tags).toContain('kept');
      expect(await place.restoredHash('latest')).toBe(written.hashes[2]);
      expect(await place.restoredHash('latest~1')).toBe(written.hashes[1]);
      const again = await place.backUp(site.path('image'));
      expect(again.data_added).toBe(0);
      await place.datamover(['prune']);
      await place.peer(restic, ['check', '--read-data']);
    });

    test('F-30 F-29 after our forget and prune, in whatever order backups go, it checks and restores the others', async () => {
      for (const [i, gone] of [1, 0, 2].entries()) {
        const place = site.beside(`forgotten-${gone}`);
        await copyFolder(site.location, place.location);
        await place.datamover(['forget', written.ids[gone] ?? '']);
        await place.datamover(['prune', '--max-unused', '0']);
        await place.peer(restic, ['check', ...(i === 0 ? ['--read-data'] : [])]);
        for (const [kept, id] of written.ids.entries()) {
          if (kept === gone) continue;
          expect(await place.peerHash(restic, ['dump', id, '/image/000000/data'])).toBe(written.hashes[kept]);
        }
        await rm(place.location, { recursive: true });
      }
    });
  });

  describePeer(name, `what ${name} writes and we`, (restic) => {
    const MODES = [
      { version: 1, compression: 'off' },
      { version: 2, compression: 'off' },
      { version: 2, compression: 'auto' },
      { version: 2, compression: 'max' },
    ] as const;
    const FILES = {
      'folder/noise': noise('theirs', 9 * MIB),
      'folder/prose': prose('theirs', 6 * MIB),
      'folder/zeros': Buffer.alloc(4 * MIB),
      'ä name\nwith everything "in" \\ it': Buffer.from('odd'),
      empty: Buffer.alloc(0),
    };

    test.each(MODES)(
      'F-41 version $version, compression $compression: we check, list, prune and copy it, and it restores',
      async ({ version, compression }) => {
        const site = await Site.local(`${name}-${version}-${compression}`);
        try {
          await site.peer(restic, ['init', '--repository-version', String(version)]);
          await site.cheapen();
          await writeTree(site.path('source'), FILES);
          const backUp = ['backup', '--compression', compression, '--host', 'theirs', site.path('source')];
          await site.peer(restic, version === 1 ? backUp.filter((_, i) => i !== 1 && i !== 2) : backUp);
          await writeFile(site.path('source', 'folder', 'prose'), prose('other', 5 * MIB));
          await site.peer(restic, version === 1 ? backUp.filter((_, i) => i !== 1 && i !== 2) : backUp);

          const listed = (await site.json(['snapshots'])) as object[];
          expect(listed.length).toBe(2);
          expect(listed[0]).toMatchObject({ format: 'files', hostname: 'theirs' });
          await site.datamover(['check', '--read-data']);

          const copy = site.beside('copy');
          await copy.init();
          await copy.datamover(['copy', '--from-repo', site.location], { RESTIC_FROM_PASSWORD: PASSWORD });
          await expectRestored(copy, restic, 'copied');
          await copy.datamover(['check', '--read-data']);

          const [first] = (await site.json(['snapshots'])) as { id: string }[];
          await site.datamover(['forget', first?.id ?? '']);
          await site.datamover(['prune', '--max-unused', '0']);
          await expectRestored(site, restic, 'pruned');
          await site.peer(restic, ['backup', site.path('source')]);
          await site.peer(restic, ['check', '--read-data']);
        } finally {
          await site.remove();
        }
      },
    );

    test('F-41 each of several passwords opens it, theirs and ours; a removed one does not', async () => {
      const site = await Site.local(`${name}-keys`);
      try {
        const [second, third] = [site.path('second'), site.path('third')];
        await writeFile(second, 'a second password');
        await writeFile(third, 'a third password');
        await site.peer(restic, ['init']);
        await site.peer(restic, ['key', 'add', '--new-password-file', second]);
        await site.datamover(['key', 'add', '--new-password-file', third], {
          RESTIC_PASSWORD: 'a second password',
        });
        await site.peer(restic, ['snapshots'], { RESTIC_PASSWORD: 'a third password' });
        const keys = (await site.json(['key', 'list'])) as { id: string; current?: boolean }[];
        expect(keys.length).toBe(3);
        const own = keys.find(({ current }) => current === true);
        await site.datamover(['key', 'remove', own?.id ?? ''], { RESTIC_PASSWORD: 'a third password' });
        await expect(site.datamover(['snapshots'])).rejects.toThrow(/exit status 12/);
        expect((await site.tryPeer(restic, ['snapshots'])).status).not.toBe(0);
        expect(await site.json(['snapshots'], { RESTIC_PASSWORD: 'a second password' })).toEqual([]);
      } finally {
        await site.remove();
      }
    });

    async function expectRestored(site: Site, peer: Peer, target: string): Promise<void> {
      await site.peer(peer, ['check', '--read-data']);
      await site.peer(peer, ['restore', 'latest', '--target', site.path(target)]);
      const root = site.path(target, site.path('source'));
      expect((await readdir(root)).sort()).toEqual((await readdir(site.path('source'))).sort());
      for (const file of Object.keys(FILES)) {
        expect(
          Buffer.compare(await readFile(`${root}/${file}`), await readFile(site.path('source', file))),
        ).toBe(0);
      }
    }
  });
}

describePeer('rustic', 'rustic', (rustic) => {
  test('F-35 F-40 checks, lists, dumps, restores, tags, forgets and prunes what we write; then we read it and go on', async () => {
    const site = await Site.local('rustic-reads');
    try {
      const { hashes, ids, stream } = await writeOurs(site);
      await site.peer(rustic, ['check', '--read-data']);
      expect(await site.peer(rustic, ['snapshots'])).toContain(`/${VOLUME}`);
      expect(await site.peer(rustic, ['ls', ids[0] ?? ''])).toContain('image/000000/data');
      for (const [i, id] of ids.entries()) {
        expect(await site.peerHash(rustic, ['dump', `${id}:image/000000/data`])).toBe(hashes[i]);
      }
      await site.peer(rustic, ['restore', ids[2] ?? '', site.path('theirs')]);
      expect(await hashOfSegments(site.path('theirs', 'image'))).toBe(hashes[2]);

      await site.peer(rustic, ['tag', '--add', 'kept', ids[1] ?? '']);
      await site.peer(rustic, ['forget', ids[0] ?? '']);
      await site.peer(rustic, ['prune', '--max-unused', '0', '--instant-delete', '--keep-pack', '0s']);
      await site.datamover(['check', '--read-data']);
      expect(await site.restoredHash('latest')).toBe(hashes[2]);
      expect(await site.restoredHash('latest~1')).toBe(hashes[1]);
      expect(await site.restoredHash('latest', STREAM)).toBe(stream);
      const again = await site.backUp(site.path('image'));
      expect(again.data_added).toBe(0);
      await site.datamover(['prune', '--max-unused', '0']);
      await site.peer(rustic, ['check', '--read-data']);
    } finally {
      await site.remove();
    }
  });

  test('F-41 we check, prune and copy what it writes, its marks included; it restores', async () => {
    const site = await Site.local('rustic-writes');
    try {
      await site.peer(rustic, ['init']);
      await site.cheapen();
      const files = {
        noise: noise('rustic', 7 * MIB),
        'a/prose': prose('rustic', 5 * MIB),
        empty: Buffer.alloc(0),
      };
      const source = site.path('source');
      await writeTree(source, files);
      await site.peer(rustic, ['backup', source]);
      await writeFile(`${source}/noise`, noise('rustic 2', 6 * MIB));
      await site.peer(rustic, ['backup', source]);
      await site.datamover(['check', '--read-data']);
      const listed = (await site.json(['snapshots'])) as { id: string }[];
      expect(listed.length).toBe(2);
      await site.peer(rustic, ['forget', listed[0]?.id ?? '']);
      // Two phases: its packs are marked now.
      await site.peer(rustic, ['prune', '--max-unused', '0', '--keep-pack', '0s']);
      await site.datamover(['check', '--read-data']);
      const copy = site.beside('copy');
      await copy.init();
      await copy.datamover(['copy', '--from-repo', site.location], { RESTIC_FROM_PASSWORD: PASSWORD });
      await site.datamover(['prune', '--max-unused', '0']);
      for (const place of [site, copy]) {
        await place.peer(rustic, ['check', '--read-data']);
        const target = `${place.location}-restored`;
        await place.peer(rustic, ['restore', 'latest', target]);
        const root = place.path(target.slice(place.folder.length + 1), source);
        for (const file of Object.keys(files)) {
          expect(Buffer.compare(await readFile(`${root}/${file}`), await readFile(`${source}/${file}`))).toBe(
            0,
          );
        }
      }
    } finally {
      await site.remove();
    }
  });
});

async function copyFolder(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
}
