import { describe, expect, it } from '@jest/globals';
import type { DataMoverClass } from './data-mover-class.ts';
import { chooseMover, matches } from './mover-class.ts';

function classNamed(name: string, spec: Partial<DataMoverClass['spec']>): DataMoverClass {
  return {
    ...{ apiVersion: 'datamover.io/v1alpha1', kind: 'DataMoverClass', metadata: { name } },
    spec: { mover: 'datamover.io', default: false, keepSnapshot: 'Last', ...spec },
  };
}

const ours = classNamed('ours', { selector: { matchLabels: { mover: 'zfs' } } });
const theirs = classNamed('theirs', { mover: 'example.org/mover', default: true });

describe('the class of a claim', () => {
  it('is ours where there is no class at all', () => {
    expect(chooseMover([], undefined, {})).toEqual({ is: 'ours' });
  });

  it('is named by the object, else by the claim, else selected, else the default', () => {
    const classes = [theirs, ours];
    const labels = { mover: 'zfs' };
    const annotations = { 'datamover.io/class': 'theirs' };
    expect(chooseMover(classes, 'ours', { annotations })).toEqual({ is: 'ours', of: ours });
    expect(chooseMover(classes, undefined, { labels, annotations })).toMatchObject({ is: 'others' });
    expect(chooseMover(classes, undefined, { labels })).toEqual({ is: 'ours', of: ours });
    expect(chooseMover(classes, undefined, {})).toEqual({
      ...{ is: 'others', because: 'DataMoverClass theirs gives it to the mover example.org/mover' },
    });
    expect(chooseMover([ours], undefined, {})).toEqual({
      ...{ is: 'others', because: 'no DataMoverClass asks for the claim' },
    });
    expect(chooseMover(classes, 'none', {})).toEqual({ is: 'missing', name: 'none' });
  });

  it('of several that fit is the first by name', () => {
    const first = classNamed('a', {
      mover: 'example.org/mover',
      selector: { matchLabels: { mover: 'zfs' } },
    });
    expect(chooseMover([ours, first], undefined, { labels: { mover: 'zfs' } })).toMatchObject({
      is: 'others',
    });
  });

  it.each([
    [{ key: 'a', operator: 'In', values: ['1', '2'] }, { a: '2' }, true],
    [{ key: 'a', operator: 'In', values: ['1'] }, {}, false],
    [{ key: 'a', operator: 'NotIn', values: ['1'] }, {}, true],
    [{ key: 'a', operator: 'NotIn', values: ['1'] }, { a: '1' }, false],
    [{ key: 'a', operator: 'Exists' }, { a: '' }, true],
    [{ key: 'a', operator: 'DoesNotExist' }, { a: '' }, false],
  ] as const)('%j of %j: %s', (expression, labels, fits) => {
    expect(matches({ matchExpressions: [expression] }, labels)).toBe(fits);
  });
});
