import { describe, expect, test } from '@jest/globals';
import { DEFAULT_GROUPING, describeGroup, groupSnapshots, parseGrouping } from './group.ts';

const snapshots = [
  { name: 1, hostname: 'a', paths: ['/x', '/y'], tags: ['t'] },
  { name: 2, hostname: 'b', paths: ['/x'] },
  { name: 3, hostname: 'a', paths: ['/y', '/x'] },
  { name: 4, paths: ['/x'], tags: ['u', 't'] },
  { name: 5, hostname: 'b', paths: ['/x'], tags: ['t', 'u'] },
];

describe('groupSnapshots', () => {
  test.each([
    ['host,paths', [[1, 3], [2, 5], [4]]],
    ['host', [[1, 3], [2, 5], [4]]],
    [
      'paths',
      [
        [1, 3],
        [2, 4, 5],
      ],
    ],
    ['tags', [[1], [2, 3], [4, 5]]],
    ['', [[1, 2, 3, 4, 5]]],
    ['host,path,tag', [[1], [2], [3], [4], [5]]],
  ])('by "%s"', (by, names) => {
    const groups = groupSnapshots(snapshots, parseGrouping(by));
    expect(groups.map((group) => group.members.map((member) => member.name))).toEqual(names);
  });

  test('the key holds what was grouped by, sorted, and nothing else', () => {
    const [first] = groupSnapshots(snapshots.slice(2), DEFAULT_GROUPING);
    expect(first?.key).toEqual({ host: 'a', paths: ['/x', '/y'], tags: [] });
  });
});

test('an unknown field is refused', () => {
  expect(() => parseGrouping('host,colour')).toThrow(/cannot group by "colour"/);
});

test('a group says what it is', () => {
  expect(describeGroup({ host: 'a', paths: ['/x', '/y'], tags: ['t'] })).toBe(
    'host a, paths [/x, /y], tags [t]',
  );
  expect(describeGroup({ host: '', paths: [], tags: [] })).toBe('all snapshots');
});
