import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { run } from '../../datamover/process/spawn.ts';
import { scratchDirectory } from '../servers/scratch.ts';

const TEST_RUN = fileURLToPath(new URL('test-run.js', import.meta.url));

const PASSES = `test('passes', () => {});`;
const FAILS = `test('passes too', () => {}); test('fails', () => { throw new Error('always'); });`;
const FAILS_ONCE = `
  const { existsSync, writeFileSync } = require('node:fs');
  test('fails once', () => {
    const before = existsSync('failed');
    writeFileSync('failed', '');
    expect(before).toBe(true);
  });`;
const SKIPS = `describe.skip('peers [needs a peer]', () => { test('of a peer', () => {}); });`;

/** `npm test` of a folder with these files, whose keeper tells of these losses. */
async function testRun(
  files: Readonly<Record<string, string>>,
  { losses = [], ci = false }: { readonly losses?: readonly string[]; readonly ci?: boolean } = {},
) {
  const folder = await scratchDirectory('test-run');
  const keeper = `module.exports = () => { globalThis.datamoverTestKeeper = { losses: ${JSON.stringify(losses)} }; };`;
  const config = { rootDir: folder, transform: {}, globalSetup: './keeper.js' };
  const all = { ...files, 'keeper.js': keeper, 'jest.config.json': JSON.stringify(config) };
  for (const [name, text] of Object.entries(all)) await writeFile(join(folder, name), text);
  const { status, stdout, stderr } = await run({
    file: process.execPath,
    args: ['--experimental-vm-modules', '--no-warnings', TEST_RUN],
    env: { CI: String(ci), FORCE_COLOR: undefined },
    cwd: folder,
    accept: [0, 1],
  });
  return { status, lines: stdout.trim().split('\n'), stderr };
}

test('a run closes with what passed, and its status is that of the tests', async () => {
  const green = await testRun({ 'a.test.js': PASSES, 'b.test.js': PASSES });
  expect(green).toMatchObject({ status: 0, lines: ['2 passed, 0 failed, 0 skipped'] });
  const red = await testRun({ 'a.test.js': PASSES, 'b.test.js': FAILS });
  expect(red).toMatchObject({ status: 1, lines: ['2 passed, 1 failed, 0 skipped'] });
});

test('what is skipped is told with its reason, and is a failure in CI', async () => {
  const files = { 'a.test.js': PASSES, 'b.test.js': SKIPS };
  const lines = ['skipped 1: needs a peer', '1 passed, 0 failed, 1 skipped'];
  expect(await testRun(files)).toMatchObject({ status: 0, lines });
  expect(await testRun(files, { ci: true })).toMatchObject({ status: 1, lines });
});

test('a file that failed runs again where a server of the tests was lost, and only there', async () => {
  const files = { 'a.test.js': PASSES, 'b.test.js': FAILS_ONCE };
  const losses = ['its kernel panicked'];
  const lost = await testRun(files, { losses });
  expect(lost).toMatchObject({ status: 0, lines: ['2 passed, 0 failed, 0 skipped'] });
  expect(lost.stderr).toMatch(/1 failed, 1 passed, 2 total.*1 passed, 1 total.*its kernel panicked/s);
  const kept = await testRun(files);
  expect(kept).toMatchObject({ status: 1, lines: ['1 passed, 1 failed, 0 skipped'] });
});

test('a file that fails again has failed', async () => {
  const { status, lines } = await testRun({ 'a.test.js': PASSES, 'b.test.js': FAILS }, { losses: ['lost'] });
  expect([status, lines.at(-1)]).toEqual([1, '2 passed, 1 failed, 0 skipped']);
});
