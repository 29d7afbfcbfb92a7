import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { WORKER_SCRIPT } from '../repository/saver/save-job.ts';
import { takeThread } from '../repository/saver/warm-threads.ts';
import type { BackupSource } from '../transfer/backup-plan.ts';
import type { SourceVolume, VolumeDriver } from '../volumes/driver.ts';
import { EarlyStart } from './early-start.ts';
import { Output } from './output.ts';
import { until } from './testing/processes.ts';

/** As many as a first backup has (saver.ts). */
const WORKERS = Math.min(4, availableParallelism());

/** The threads of this process that run JavaScript, as the kernel names them. */
function jsThreads(): string[] {
  return readdirSync('/proc/self/task').filter((thread) => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim() === 'WorkerThread';
    } catch {
      return false; // It has just ended.
    }
  });
}

let before: string[] = [];

function started(): number {
  return jsThreads().filter((thread) => !before.includes(thread)).length;
}

function allStarted(): Promise<void> {
  return until(() => Promise.resolve(started() === WORKERS));
}

async function endThreads(): Promise<void> {
  for (let i = 0; i < WORKERS; i++) await takeThread(WORKER_SCRIPT).terminate();
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

beforeEach(() => {
  before = jsThreads();
});

describe('the threads of a backup', () => {
  test('start when the source has been looked at, once', async () => {
    const { source, found } = lookingDriver();
    const early = new EarlyStart(source, output, { dryRun: true });
    early.begin(never);
    await delay(100);
    expect(started()).toBe(0);
    found();
    await allStarted();
    early.warmUp();
    await delay(100);
    expect(started()).toBe(WORKERS);
    await early.end();
    await endThreads();
  }, 30_000);

  test('do not wait for it longer than for the repository', async () => {
    const { source, fail } = lookingDriver();
    const early = new EarlyStart(source, output, { dryRun: true });
    early.begin(never);
    early.warmUp();
    await allStarted();
    fail(new Error('it is not there'));
    await early.end();
    await endThreads();
  }, 30_000);

  test('do not start for a source that is not there, nor after the end', async () => {
    const { source, fail } = lookingDriver();
    const early = new EarlyStart(source, output, { dryRun: true });
    early.begin(never);
    fail(new Error('it is not there'));
    await early.end();
    early.warmUp();
    await delay(200);
    expect(started()).toBe(0);
  }, 30_000);
});
