import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { run } from '../../datamover/process/spawn.ts';
import { scratchDirectory } from '../servers/scratch.ts';

const JEST = fileURLToPath(new URL('../../../node_modules/jest/bin/jest.js', import.meta.url));
const WATCHDOG = fileURLToPath(new URL('watchdog.js', import.meta.url));

/** A run of jest's own with these files, of which none may take longer. */
async function runFiles(files: Readonly<Record<string, string>>, limitSeconds: number) {
  const folder = await scratchDirectory('watchdog');
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const config = { rootDir: folder, transform: {}, maxWorkers: 2, reporters: ['default', WATCHDOG] };
  return run({
    file: process.execPath,
    args: ['--experimental-vm-modules', '--no-warnings', JEST, '--config', JSON.stringify(config)],
    env: { DATAMOVER_TEST_FILE_SECONDS: String(limitSeconds), FORCE_COLOR: undefined },
    cwd: folder,
    accept: [0, 1],
  });
}

const QUICK = `test('quick', () => {});`;

test('a run has its own end where every file has', async () => {
  const { status, stderr } = await runFiles({ 'a.test.js': QUICK, 'b.test.js': QUICK }, 600);
  expect([status, stderr]).toEqual([0, expect.stringContaining('2 passed, 2 total')]);
});

test('a file whose process waits in a call ends the run, with its name and what the process was doing', async () => {
  const stuck = `test('stuck', () => void require('node:child_process').spawnSync('sleep', ['300']), 1000);`;
  // The quick one has time enough on a busy machine.
  const { status, stderr } = await runFiles({ 'quick.test.js': QUICK, 'stuck.test.js': stuck }, 15);
  expect(status).toBe(1);
  expect(stderr).toMatch(/FAIL \S+\/stuck\.test\.js: not at its end after 15 s/);
  expect(stderr).not.toContain('running: quick');
  const asleep = /^ +(\d+) S \S+ sleep 300/m.exec(stderr)?.[1];
  expect(asleep).toBeDefined();
  // Killed and, where nobody has taken its status yet, without a command line.
  const commandLine = () => readFile(`/proc/${asleep}/cmdline`, 'utf8').catch(() => '');
  await until(
    async () => (await commandLine()) === '',
    () => `process ${asleep} is still there`,
  );
});
