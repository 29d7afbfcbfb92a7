import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import type { BackupSource } from '../transfer/backup-plan.ts';
import type { SourceVolume, VolumeDriver } from '../volumes/driver.ts';
import { EarlyStart } from './early-start.ts';
import { Output } from './output.ts';

/** As many as a first backup has (saver.ts). */
const WORKERS = Math.min(4, availableParallelism());

/** Of this process, as the kernel names them. */
function workerThreads(): number {
  const names = readdirSync('/proc/self/task').map((thread) => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim();
    } catch {
      return ''; // It has just ended.
    }
  });
  return names.filter((name) => name === 'WorkerThread').length;
}

/** A double of a driver: whose looking takes as long, and ends, as the test says. */
function lookingDriver(): { source: BackupSource; found: () => void; fail: (error: Error) => void } {
  const { promise, resolve, reject } = Promise.withResolvers<SourceVolume>();
  const driver = { name: 'double', identify: () => promise, close: () => Promise.resolve() };
  const source: BackupSource = {
    kind: 'driver',
    driver: driver as unknown as VolumeDriver,
    location: 'double:volume',
  };
  return { source, found: () => resolve({} as SourceVolume), fail: reject };
}

const output = new Output({ json: false, verbosity: 0 });
const never = new AbortController().signal;

describe('the threads of a backup', () => {
  test('start when the source has been looked at, once', async () => {
    const before = workerThreads();
    const { source, found } = lookingDriver();
    const early = new EarlyStart(source, output, { dryRun: true });
    early.begin(never);
    await delay(100);
    expect(workerThreads()).toBe(before);
    found();
    while (workerThreads() < before + WORKERS) await delay(5);
    early.warmUp();
    await delay(100);
    expect(workerThreads()).toBe(before + WORKERS);
    await early.end();
  }, 30_000);

  test('do not wait for it longer than for the repository', async () => {
    const before = workerThreads();
    const { source, fail } = lookingDriver();
    const early = new EarlyStart(source, output, { dryRun: true });
    early.begin(never);
    early.warmUp();
    while (workerThreads() < before + WORKERS) await delay(5);
    fail(new Error('it is not there'));
    expect(early.source()).toHaveProperty('volume');
    await early.end();
  }, 30_000);

  test('do not start for a source that is not there, nor after the end', async () => {
    const before = workerThreads();
    const { source, fail } = lookingDriver();
    const early = new EarlyStart(source, output, { dryRun: true });
    early.begin(never);
    fail(new Error('it is not there'));
    await early.end();
    early.warmUp();
    await delay(200);
    expect(workerThreads()).toBe(before);
  }, 30_000);
});
