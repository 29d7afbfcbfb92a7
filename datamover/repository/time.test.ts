import { describe, expect, test } from '@jest/globals';
import { run } from '../process/spawn.ts';
import { formatTime, parseTime } from './time.ts';

describe('formatTime', () => {
  test('is the same moment', () => {
    const now = new Date();
    expect(parseTime(formatTime(now))).toBe(BigInt(now.getTime()) * 1_000_000n);
  });

  test.each([
    ['UTC', '2026-07-01T12:00:00.000Z'],
    ['Europe/Berlin', '2026-07-01T14:00:00.000+02:00'],
    ['America/St_Johns', '2026-07-01T09:30:00.000-02:30'],
  ])('writes the offset of %s', async (zone, expected) => {
    const script = `import('${new URL('./time.js', import.meta.url).href}').then((time) => process.stdout.write(time.formatTime(new Date('2026-07-01T12:00:00Z'))))`;
    const { stdout } = await run({ file: process.execPath, args: ['-e', script], env: { TZ: zone } });
    expect(stdout).toBe(expected);
  });
});
