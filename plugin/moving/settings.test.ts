import { describe, expect, test } from '@jest/globals';
import { parseDuration } from './duration.ts';
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
