import { expect, test } from '@jest/globals';
import { openDriver } from './open-driver.ts';

test('a volume is written SCHEME:LOCATION; the location is the storage’s own', () => {
  const { driver, location } = openDriver('file:/var/a:b c', {});
  expect(driver.name).toBe('file');
  expect(location).toBe('/var/a:b c');
});

test.each([
  'nfs:server/share',
  '/var/disk.img',
  'FILE:/x',
  'file',
  '',
  '--to',
  'constructor:x',
  'toString:x',
])('%j is refused with the ways to write a volume', (url) => {
  expect(() => openDriver(url)).toThrow(/^find the driver of ".*": a volume is written .*file:PATH/);
});

test('a scheme with nothing behind it is refused', () => {
  expect(() => openDriver('file:')).toThrow(/it names no volume: write file:PATH/);
});
