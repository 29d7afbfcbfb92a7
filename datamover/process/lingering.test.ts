import { once } from 'node:events';
import { expect, test } from '@jest/globals';
import { watchLingering } from './lingering.ts';
import { run, start } from './spawn.ts';

/** Only a broken device holds a process in the kernel; one that does not follow SIGTERM stays for the 5 s before SIGKILL. */
const STUBBORN = ['-c', "trap '' TERM; echo ready; while :; do sleep 0.1; done"];

test('a process that is there long after it was to end is told, with its state', async () => {
  const stop = new AbortController();
  const child = await start({ file: 'sh', args: STUBBORN });
  await once(child.stdout, 'data');
  const told = new Promise<string>((resolve) => watchLingering(child.pid, stop.signal, resolve, 200));
  stop.abort();
  void child.stop();
  expect(await told).toMatch(
    new RegExp(`^process ${child.pid} is there 0.2 s after it was stopped, in state [A-Z] \\(`),
  );
  process.kill(child.pid, 'SIGKILL');
  await child.stop();
});

test('nothing is said of one that ends, nor once nobody wants to know', async () => {
  const said: string[] = [];
  const stop = new AbortController();
  const child = await start({ file: 'sleep', args: ['600'] });
  const ended = watchLingering(child.pid, stop.signal, (cause) => said.push(cause), 300);
  const unwanted = watchLingering(process.pid, stop.signal, (cause) => said.push(cause), 300);
  stop.abort();
  void child.stop();
  unwanted();
  await child.stop();
  // A later watch is told after the others would have been.
  await new Promise<void>((resolve) => watchLingering(process.pid, stop.signal, () => resolve(), 600));
  ended();
  expect(said).toEqual([]);
});

test('whoever cannot tell it goes on', async () => {
  const module = new URL('lingering.js', import.meta.url).href;
  // A process of its own: a rejection that nobody hears ends it.
  const script = `
    import { watchLingering } from ${JSON.stringify(module)};
    const fails = () => { console.log('told'); throw new Error('no event is taken'); };
    watchLingering(process.pid, AbortSignal.abort(), fails, 1);
    setTimeout(() => console.log('went on'), 500);`;
  const { stdout } = await run({ file: process.execPath, args: ['--input-type=module', '-e', script] });
  expect(stdout).toBe('told\nwent on\n');
});
