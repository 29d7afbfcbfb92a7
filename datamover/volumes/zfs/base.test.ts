import { describe, expect, test } from '@jest/globals';
import { chooseBase } from './base.ts';
import type { Moment } from './inspect.ts';
import { isGuid, parentOf, parseDataset, parseZfsName } from './name.ts';
import { carried } from './properties.ts';

const moment = (name: string, guid: string, txg: number): Moment => ({
  name,
  kind: name.includes('@') ? 'snapshot' : 'bookmark',
  guid,
  createtxg: BigInt(txg),
});
const backup = (snapshotId: string, record?: unknown) => ({
  snapshotId: snapshotId.repeat(32),
  bytes: 1,
  record,
});

describe('the base of an increment', () => {
  const moments = [
    moment('t/v#old', '11', 10),
    moment('t/v@b', '22', 20),
    moment('t/v#b', '22', 20),
    moment('t/v@c', '33', 30),
  ];
  const source = { guid: '33', createtxg: 30n };

  test('is the newest backup whose snapshot is there, by guid, and as a snapshot rather than a bookmark', () => {
    const bases = [backup('cc', { guid: '22' }), backup('aa', { guid: '11' })];
    expect(chooseBase(bases, moments, source)).toEqual({ base: bases[0], from: moments[1] });
  });

  test('is a bookmark where the snapshot is gone, and an older backup where nothing is left', () => {
    const bases = [backup('cc', { guid: '99' }), backup('aa', { guid: '11' })];
    expect(chooseBase(bases, moments, source)).toEqual({
      base: bases[1],
      from: moments[0],
      because: 'the snapshot of backup cccccccc (guid 99) is gone, and no bookmark of it is left',
    });
  });

  test('is none without one, with the reason of the newest', () => {
    const none = (...bases: ReturnType<typeof backup>[]) => chooseBase(bases, moments, source);
    expect(none()).toEqual({ base: undefined, because: 'the volume has no backup yet' });
    for (const record of [undefined, null, 'x', {}, { guid: 22 }, { guid: '-i' }, { guid: '0' }]) {
      expect(none(backup('dd', record)).because).toMatch(/backup dddddddd does not know of which/);
    }
    expect(none(backup('dd', { guid: '33' })).because).toMatch(/very snapshot/);
    const earlier = { guid: '22', createtxg: 20n };
    expect(chooseBase([backup('dd', { guid: '33' })], moments, earlier).because).toMatch(/later snapshot/);
  });
});

describe('names', () => {
  test('of volumes and snapshots', () => {
    expect(parseZfsName('tank/a/b-1_2:3.4@2026-11-25')).toEqual({
      dataset: 'tank/a/b-1_2:3.4',
      snapshot: '2026-11-25',
    });
    expect(parseZfsName('tank')).toEqual({ dataset: 'tank' });
    expect(parentOf('tank/a/b')).toBe('tank/a');
    expect(parentOf('tank')).toBeUndefined();
    expect(() => parseDataset('tank/a@b')).toThrow(/names a snapshot/);
  });

  test('that could mean something else are refused', () => {
    const wrong = [
      '',
      '-tank/a',
      'tank//a',
      'tank/',
      '/a',
      'tank/../a',
      'tank/a@',
      'tank/a@b@c',
      'tank/a b',
      '1a/b',
    ];
    for (const text of [...wrong, 'tank/a#b', 'tank/a%b', 'tank/a\nb', `tank/${'x'.repeat(255)}`]) {
      expect(() => parseZfsName(text)).toThrow(/name ZFS volume/);
    }
  });

  test('guids are decimal', () => {
    expect(isGuid('18446744073709551615')).toBe(true);
    for (const text of [undefined, 5, '', '0', '-1', '1e3', '0x10', '123456789012345678901']) {
      expect(isGuid(text)).toBe(false);
    }
  });
});

test('properties of a record are set again where somebody had set them, and only such as make sense', () => {
  const properties = {
    compression: { value: 'zstd-3', source: 'local' },
    recordsize: { value: '131072', source: 'default' },
    quota: { value: '1000', source: 'received' },
    checksum: { value: 'on=x /', source: 'local' },
    atime: { value: 5, source: 'local' },
    xattr: null,
    mountpoint: { value: '/etc', source: 'local' },
  };
  const names = ['compression', 'recordsize', 'quota', 'checksum', 'atime', 'xattr'];
  expect(carried(properties, names)).toEqual({ compression: 'zstd-3', quota: '1000' });
  for (const record of [undefined, null, 3, 'text']) expect(carried(record, names)).toEqual({});
});
