import { expect, test } from '@jest/globals';
import { until } from '../kubernetes/testing/waiting.ts';
import { ProgressReports } from './progress-reports.ts';
import type { StatusWriter } from './status-writer.ts';

/** A double of the writer: it only counts what it is given. */
class WriterDouble {
  readonly told: (number | undefined)[] = [];

  write({ progress }: { readonly progress?: { readonly bytesDone?: number } }): Promise<void> {
    this.told.push(progress?.bytesDone);
    return Promise.resolve();
  }
}

const reportsTo = (writer: WriterDouble, intervalMs: number): ProgressReports =>
  new ProgressReports(writer as unknown as StatusWriter, intervalMs, (error) => {
    throw error;
  });
const at = (bytesDone: number) => ({ bytesDone, totalBytes: 1000, bytesPerSecond: 1 });

test('K-23: however often a child tells of progress, it is written once in an interval, the newest last', async () => {
  const writer = new WriterDouble();
  const reports = reportsTo(writer, 200);
  const began = performance.now();
  for (let done = 1; done <= 500; done += 1) {
    reports.update(at(done));
    if (done % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await until(
    () => Promise.resolve(writer.told.at(-1) === 500),
    () => writer.told.join(),
  );
  const intervals = Math.ceil((performance.now() - began) / 200);
  expect(writer.told.length).toBeLessThanOrEqual(intervals + 1);
  expect(writer.told).toEqual(writer.told.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
  await reports.end();
});

test('K-23: nothing is written before the interval is over, nor after the end', async () => {
  const writer = new WriterDouble();
  const reports = reportsTo(writer, 3_600_000);
  reports.update(at(1));
  await until(
    () => Promise.resolve(writer.told.length > 0),
    () => 'the first write',
  );
  for (let done = 2; done <= 100; done += 1) reports.update(at(done));
  await reports.end();
  expect(writer.told).toEqual([1]);
});
