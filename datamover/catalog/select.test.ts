import { describe, expect, test } from '@jest/globals';
import { listBackups } from './list.ts';
import { resolveBackup, selectBackups } from './select.ts';
import { describeSnapshot, ownTags, type SnapshotFacts } from './volume-backup.ts';

const id = (start: string): string => start.padEnd(64, '0');

function snapshot(volume: string, time: string, more: Partial<SnapshotFacts> = {}): SnapshotFacts {
  return {
    time,
    tree: id('7'),
    paths: [`/${volume}`],
    hostname: 'cluster-a',
    tags: [`volume=${volume}`, 'driver=file', 'format=image'],
    summary: { total_bytes_processed: 4096 },
    ...more,
  };
}

const repository = {
  async *snapshots() {
    yield { id: id('abc1'), snapshot: snapshot('shop/db', '2026-11-20T12:00:00+01:00') };
    // Earlier than the one before it, though its digits are later: the zone decides.
    yield {
      id: id('abc2'),
      snapshot: snapshot('shop/db', '2026-11-20T12:00:00+05:00', {
        tags: ['volume=shop/db', 'format=image', 'nightly'],
      }),
    };
    yield {
      id: id('def1'),
      snapshot: snapshot('shop/files', '2026-11-20T10:00:00Z', { hostname: 'cluster-b' }),
    };
    yield {
      id: id('f00d'),
      snapshot: { time: '2026-11-19T10:00:00Z', tree: id('8'), paths: ['/etc'], hostname: 'laptop' },
    };
  },
};

/** Two clusters have a volume of one name. */
const shared = {
  async *snapshots() {
    yield { id: id('aa01'), snapshot: snapshot('shop/db', '2026-11-20T10:00:00Z') };
    yield { id: id('aa02'), snapshot: snapshot('shop/db', '2026-11-21T10:00:00Z') };
    yield {
      id: id('bb01'),
      snapshot: snapshot('shop/db', '2026-11-22T10:00:00Z', { hostname: 'cluster-b' }),
    };
  },
};

describe('the catalogue', () => {
  test('reads identity, format and size from a snapshot', () => {
    const backup = describeSnapshot(id('abc1'), snapshot('shop/db', '2026-11-20T12:00:00Z'));
    expect(backup).toMatchObject({
      shortId: 'abc10000',
      namespace: 'shop',
      name: 'db',
      format: 'image',
      size: 4096,
      driver: 'file',
      host: 'cluster-a',
    });
    expect(ownTags({ tags: [...backup.tags, 'nightly'] })).toEqual(['nightly']);
  });

  test('a summary that counts more files than the volume does not tell its size', () => {
    const summary = { total_bytes_processed: 4307, total_files_processed: 2 };
    expect(
      describeSnapshot(id('1'), snapshot('shop/db', '2026-11-20T12:00:00Z', { summary })),
    ).not.toHaveProperty('size');
  });

  test('lists foreign snapshots too, without a volume', async () => {
    const foreign = (await listBackups(repository)).find((backup) => backup.id === id('f00d'));
    expect(foreign).toMatchObject({ format: 'files', paths: ['/etc'] });
    expect(foreign).not.toHaveProperty('namespace');
    expect(foreign).not.toHaveProperty('size');
  });

  test('knows a volume by its path where somebody rewrote the tags', () => {
    const backup = describeSnapshot(
      id('1'),
      snapshot('shop/db', '2026-11-20T12:00:00Z', { tags: ['format=image'] }),
    );
    expect(backup).toMatchObject({ namespace: 'shop', name: 'db' });
  });

  test('sorts by the instant, whatever the zone', async () => {
    const ids = (await listBackups(repository)).map((backup) => backup.shortId);
    expect(ids).toEqual(['f00d0000', 'abc20000', 'def10000', 'abc10000']);
  });

  test.each([
    [{ volume: 'shop/db' }, ['abc20000', 'abc10000']],
    [{ hosts: ['cluster-b', 'laptop'] }, ['f00d0000', 'def10000']],
    [{ tagLists: [['nightly']] }, ['abc20000']],
    [{ tagLists: [['nightly', 'driver=file'], ['']] }, ['f00d0000', 'def10000', 'abc10000']],
    [{ volume: 'shop/none' }, []],
  ])('filters by %j', async (filter, ids) => {
    expect(selectBackups(await listBackups(repository), filter).map((backup) => backup.shortId)).toEqual(ids);
  });

  test.each([
    ['abc2', {}, 'abc20000'],
    ['latest', { volume: 'shop/db' }, 'abc10000'],
    ['latest~1', { volume: 'shop/db' }, 'abc20000'],
    ['latest', { hosts: ['laptop'] }, 'f00d0000'],
  ])('%s %j is one snapshot', async (reference, filter, shortId) => {
    expect(resolveBackup(await listBackups(repository), reference, filter).shortId).toBe(shortId);
  });

  test.each([
    ['our own before newer ones of others', 'latest', 'cluster-a', 'aa020000', ['cluster-a', 'cluster-b']],
    ['our own one before', 'latest~1', 'cluster-a', 'aa010000', ['cluster-a', 'cluster-b']],
    ['the only other one', 'latest', 'cluster-d', 'bb010000', ['cluster-b']],
  ])('latest of several hosts: %s', async (_what, reference, ownHost, shortId, hosts) => {
    const backups = (await listBackups(shared)).filter(({ host }) => hosts.includes(host ?? ''));
    expect(resolveBackup(backups, reference, { volume: 'shop/db', ownHost }).shortId).toBe(shortId);
  });

  test('latest of several hosts, none of them ours, is refused; --host and ids say which', async () => {
    const backups = await listBackups(shared);
    const filter = { volume: 'shop/db', ownHost: 'cluster-d' };
    expect(() => resolveBackup(backups, 'latest', filter)).toThrow(
      'find snapshot latest: none is of host cluster-d, and several others have backups of the volume (cluster-a, cluster-b) (say which with --host, or give the id of the snapshot)',
    );
    expect(resolveBackup(backups, 'latest', { ...filter, hosts: ['cluster-a'] }).shortId).toBe('aa020000');
    expect(resolveBackup(backups, 'aa01', filter).shortId).toBe('aa010000');
    expect(() => resolveBackup(backups, 'latest~2', { ...filter, ownHost: 'cluster-a' })).toThrow(
      'there are only 2 backups of shop/db of host cluster-a',
    );
  });

  test.each([
    ['abc', {}, '2 snapshots begin so: abc2000, abc1000 (give more digits)'],
    ['0123', {}, "find snapshot 0123: no such snapshot (see 'datamover snapshots')"],
    ['xyz', {}, 'not a snapshot id'],
    ['latest', {}, 'the repository holds 3 volumes (paths /etc, shop/db, shop/files)'],
    ['latest', { volume: 'shop/none' }, 'there is no backup of shop/none'],
    ['latest~2', { volume: 'shop/db' }, 'there are only 2 backups of shop/db'],
    ['def1', { volume: 'shop/db' }, 'it is a backup of shop/files'],
  ])('%s %j is refused', async (reference, filter, sentence) => {
    const backups = await listBackups(repository);
    expect(() => resolveBackup(backups, reference, filter)).toThrow(sentence);
  });
});
