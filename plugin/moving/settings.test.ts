import { describe, expect, test } from '@jest/globals';
import type { DataMoverClass } from '../../api/data-mover-class.ts';
import { parseDuration } from './duration.ts';
import { chooseClass } from './mover-class.ts';
import { combine } from './settings.ts';

const HOUR = 3_600_000;

function map(data: Readonly<Record<string, string>>) {
  return { metadata: { name: 'mover' }, data };
}

describe('settings', () => {
  test('without any the mover is off', () => {
    expect(combine(undefined, undefined)).toEqual({
      ...{ enabled: false, timeoutMs: 4 * HOUR, actionSet: 'v2', destinations: {} },
    });
  });

  test('a ConfigMap turns it on by being there, and off by its word, whatever OADP’s object says', () => {
    expect(combine(map({}), undefined).enabled).toBe(true);
    expect(combine(map({}), { enable: false }).enabled).toBe(true);
    expect(combine(map({ enabled: 'false' }), { enable: true }).enabled).toBe(false);
  });

  test('OADP’s object turns it on where there is no ConfigMap, with its time limit and its storage classes', () => {
    const options = {
      slow: { destinationVolumeOptions: { storageClassName: 'fast', accessMode: 'ReadWriteOnce' } },
      other: { sourceVolumeOptions: { storageClassName: 'x' } },
    };
    expect(
      combine(undefined, { enable: true, timeout: '10m', volumeOptionsForStorageClasses: options }),
    ).toEqual({
      ...{ enabled: true, timeoutMs: HOUR / 6, actionSet: 'v2' },
      destinations: { slow: { storageClassName: 'fast', accessMode: 'ReadWriteOnce' } },
    });
    expect(combine(undefined, { timeout: '10m' }).enabled).toBe(false);
  });

  test('the ConfigMap’s time limit goes before OADP’s', () => {
    expect(combine(map({ timeout: '1h30m' }), { timeout: '10m' }).timeoutMs).toBe(1.5 * HOUR);
  });

  test.each([
    [{ enable: 'true' }, 'read the plugin\'s ConfigMap mover: "enable" is none of its keys (enabled, '],
    [{ enabled: 'yes' }, 'enabled is "yes", not true or false'],
    [{ actions: '1' }, 'actions is "1", not v1 or v2'],
    [{ timeout: 'soon' }, 'timeout is "soon", no duration such as 1h30m'],
    [{ backupTarget: 'a', resticSecret: 'b' }, 'names both backupTarget and resticSecret'],
  ])('what is wrong is said: %j', (data, sentence) => {
    expect(() => combine(map(data), undefined)).toThrow(sentence);
  });

  test('durations are Go’s', () => {
    expect(parseDuration('1h30m')).toBe(5_400_000);
    expect(parseDuration('1.5s250ms')).toBe(1750);
    for (const wrong of ['', '5', '1d', '-1s', '1h ']) expect(parseDuration(wrong)).toBeUndefined();
  });
});

describe('the class of a claim', () => {
  function made(name: string, spec: Partial<DataMoverClass['spec']>): DataMoverClass {
    return {
      ...{ apiVersion: 'datamover.io/v1alpha1', kind: 'DataMoverClass', metadata: { name } },
      spec: { mover: 'datamover.io', default: false, ...spec },
    };
  }
  const classes = [
    made('z-default', { default: true }),
    made('b-other', { selector: { matchLabels: { tier: 'gold' } }, mover: 'other.io' }),
    made('a-some', {
      selector: {
        matchExpressions: [
          { key: 'tier', operator: 'In', values: ['gold', 'silver'] },
          { key: 'old', operator: 'DoesNotExist' },
          { key: 'app', operator: 'Exists' },
          { key: 'app', operator: 'NotIn', values: ['cache'] },
        ],
      },
    }),
  ];
  const chosen = (labels: Record<string, string>, annotations: Record<string, string> = {}) => {
    const choice = chooseClass(classes, { labels, annotations });
    return choice.choice === 'class' ? choice.of.metadata.name : choice;
  };

  test('is that of its annotation, else the first by name that selects it, else the default', () => {
    expect(chosen({ tier: 'gold', app: 'shop' }, { 'datamover.io/class': 'z-default' })).toBe('z-default');
    expect(chosen({ tier: 'gold', app: 'shop' })).toBe('a-some');
    expect(chosen({ tier: 'silver', app: 'shop' })).toBe('a-some');
    expect(chosen({ tier: 'gold', app: 'shop', old: '' })).toBe('b-other');
    expect(chosen({ tier: 'gold', app: 'cache' })).toBe('b-other');
    expect(chosen({ tier: 'gold' })).toBe('b-other');
    expect(chosen({})).toBe('z-default');
  });

  test('may be missing, or none, or there are no classes at all', () => {
    expect(chosen({}, { 'datamover.io/class': 'gone' })).toEqual({ choice: 'missing', name: 'gone' });
    expect(chooseClass(classes.slice(1), { labels: {} })).toEqual({ choice: 'nothing' });
    expect(chooseClass([], {})).toEqual({ choice: 'everything' });
    expect(chooseClass([], { annotations: { 'datamover.io/class': 'gone' } }).choice).toBe('missing');
  });
});
