import { scryptSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { run } from '../../process/spawn.ts';
import { DEFAULT_KDF } from './kdf.ts';
import { scrypt64, type KdfParameters } from './scrypt.ts';

const MIB = 1024 * 1024;
const byOpenSsl = (password: string, salt: Uint8Array, parameters: KdfParameters): Buffer =>
  scryptSync(password, salt, 64, { ...parameters, maxmem: 512 * MIB });

/** What a process of its own prints that has scrypt64 and our parameters. */
async function inProcess(program: string, flags: readonly string[] = []): Promise<string> {
  const given = `
    const { scrypt64 } = await import(${JSON.stringify(new URL('./scrypt.js', import.meta.url).href)});
    const parameters = ${JSON.stringify(DEFAULT_KDF)};`;
  const args = [...flags, '--input-type=module', '--eval', given + program];
  return (await run({ file: process.execPath, args })).stdout;
}

describe('scrypt', () => {
  test('derives what OpenSSL derives, whatever the lanes, rounds and sizes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.uint8Array({ minLength: 1, maxLength: 80 }),
        fc.record({
          N: fc.constantFrom(2, 512, 1024, 2048, 8192),
          r: fc.integer({ min: 1, max: 17 }),
          p: fc.integer({ min: 1, max: 10 }),
        }),
        async (password, salt, parameters) => {
          expect(await scrypt64(password, salt, parameters)).toEqual(byOpenSsl(password, salt, parameters));
        },
      ),
      { numRuns: 60 },
    );
  }, 120_000);

  test.each([
    ['ours', DEFAULT_KDF],
    ['restic’s', { N: 32768, r: 8, p: 7 }],
    ['rustic’s', { N: 131072, r: 8, p: 1 }],
    ['three lanes that are too large to lie side by side', { N: 65536, r: 8, p: 3 }],
  ])(
    'derives what OpenSSL derives with parameters like %s',
    async (_, parameters) => {
      const salt = Buffer.alloc(64, 7);
      expect(await scrypt64('geheim', salt, parameters)).toEqual(byOpenSsl('geheim', salt, parameters));
    },
    60_000,
  );

  test.each([
    ['WebAssembly is not there', '--jitless', 'undefined'],
    ['WebAssembly has no vectors', '--no-enable-sse4-1', 'object'],
  ])(
    'derives the same where %s',
    async (_, flag, webAssembly) => {
      const stdout = await inProcess(
        `const key = await scrypt64('geheim', Buffer.alloc(64, 7), parameters);
      console.log(typeof WebAssembly, key.toString('hex'));`,
        [flag],
      );
      const expected = byOpenSsl('geheim', Buffer.alloc(64, 7), DEFAULT_KDF).toString('hex');
      expect(stdout).toBe(`${webAssembly} ${expected}\n`);
    },
    60_000,
  );

  test('leaves this thread to others while it derives', async () => {
    let turns = 0;
    const watch = setInterval(() => turns++, 1);
    await scrypt64('geheim', Buffer.alloc(64, 7), DEFAULT_KDF);
    clearInterval(watch);
    expect(turns).toBeGreaterThan(8);
  });

  test('has three lanes in memory, and gives it back at once', async () => {
    // In a process of its own: this one's memory is other tests' too.
    const { most, after } = JSON.parse(
      await inProcess(`
        const { readFileSync } = await import('node:fs');
        const resident = () => 1024 * Number(/^VmRSS:\\s+(\\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
        const before = resident();
        let most = before;
        setInterval(() => (most = Math.max(most, resident())), 1).unref();
        for (let i = 0; i < 4; i++) await scrypt64('geheim', Buffer.alloc(64, 7), parameters);
        console.log(JSON.stringify({ most: most - before, after: resident() - before }));`),
    ) as { most: number; after: number };
    expect(most).toBeGreaterThan(80 * MIB);
    expect(most).toBeLessThan(160 * MIB);
    expect(after).toBeLessThan(64 * MIB);
  }, 60_000);
});
