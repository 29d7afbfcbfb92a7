import { describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { Output } from './output.ts';
import { fit, progressFps, RateMeter, Reporter } from './progress.ts';
import { TransferStatus } from './transfer-status.ts';

function collector(isTTY: boolean, columns?: number) {
  const texts: string[] = [];
  return {
    texts,
    isTTY,
    ...(columns === undefined ? {} : { columns }),
    write: (text: string) => texts.push(text),
  };
}

const stream = {
  phase: 'transferring' as const,
  doneBytes: 2 ** 29,
  readBytes: 2 ** 29,
  newBytes: 2 ** 20,
  deduplicatedBytes: 2 ** 28,
  zeroBytes: 2 ** 27,
  storedBytes: 2 ** 19,
};
const half = { ...stream, totalBytes: 2 ** 30 };

describe('progress', () => {
  test('shows what fits, the most telling first', () => {
    expect(fit(['50.0 %', '1 of 2 GiB', 'new 3 MiB'], 19)).toBe('50.0 %  1 of 2 GiB');
    expect(fit(['50.0 %', '1 of 2 GiB', 'new 3 MiB'], 17)).toBe('50.0 %');
    expect(fit(['50.0 %'], 3)).toBe('50.');
  });

  test('the rate follows the last ten seconds', () => {
    const meter = new RateMeter();
    for (let second = 1; second <= 30; second++) meter.measure(second, second * 100);
    expect(meter.measure(31, 3100)).toBeCloseTo(100);
    for (let second = 32; second <= 50; second++) meter.measure(second, 3100);
    expect(meter.measure(51, 3100)).toBe(0);
  });

  test('a transfer is told in parts and in fields', () => {
    const { parts, record } = new TransferStatus('backup').describe(half, 4);
    expect(parts).toEqual([
      '50.0 %',
      '512.0 MiB of 1.0 GiB',
      '128.0 MiB/s',
      '0:04 left',
      'new 1.0 MiB',
      'known 256.0 MiB',
      'zero 128.0 MiB',
    ]);
    expect(record).toMatchObject({
      percent_done: 0.5,
      seconds_remaining: 4,
      bytes_done: 2 ** 29,
      data_added: 2 ** 20,
    });
  });

  test('the rate is known from the first moment, also while nothing moves', () => {
    const meter = new RateMeter();
    expect(meter.measure(0, 0)).toBe(0);
    expect(meter.measure(0.5, 100)).toBe(200);
    expect(meter.measure(1, 100)).toBe(100);
  });

  test('what is read is not yet stored', () => {
    const { parts, record } = new TransferStatus('backup').describe({ ...half, doneBytes: 2 ** 30 }, 4);
    expect(parts.slice(0, 3)).toEqual(['100.0 %', '1.0 GiB of 1.0 GiB', 'finishing']);
    expect(record).toMatchObject({ phase: 'finishing', percent_done: 1 });
  });

  test('a stream of unknown length has neither percent nor estimate', () => {
    const { parts, record } = new TransferStatus('backup').describe(stream, 4);
    expect(parts[0]).toBe('512.0 MiB');
    expect(record).not.toHaveProperty('percent_done');
    expect(record).not.toHaveProperty('seconds_remaining');
  });

  test('on a terminal one line moves and is gone at the end', async () => {
    const errors = collector(true, 30);
    const reporter = new Reporter(new Output({ json: false, verbosity: 1 }, collector(true), errors), 50);
    reporter.update(() => ({ parts: ['10.0 %', 'a'.repeat(40)], record: {} }));
    await delay(60);
    reporter.stop();
    expect(errors.texts[0]).toBe('\r\u001b[K10.0 %');
    expect(errors.texts.at(-1)).toBe('\r\u001b[K');
    expect(errors.texts.join('')).not.toContain('\n');
  });

  test.each([
    ['a log gets whole lines', false, 'errors', '10.0 %  of it\n'],
    ['a script gets JSON lines', true, 'results', '{"message_type":"status","bytes_done":1}\n'],
  ] as const)('%s', async (_, json, where, line) => {
    const streams = { errors: collector(false), results: collector(false) };
    const reporter = new Reporter(new Output({ json, verbosity: 1 }, streams.results, streams.errors), 50);
    reporter.update(() => ({ parts: ['10.0 %', 'of it'], record: { bytes_done: 1 } }));
    await delay(60);
    reporter.stop();
    expect(streams[where].texts[0]).toBe(line);
    expect(streams[where === 'errors' ? 'results' : 'errors'].texts).toEqual([]);
    const written = streams[where].texts.length;
    await delay(60);
    expect(streams[where].texts).toHaveLength(written);
  });

  test('-q is silent', async () => {
    const errors = collector(true);
    const reporter = new Reporter(new Output({ json: false, verbosity: 0 }, collector(true), errors), 50);
    reporter.update(() => ({ parts: ['10.0 %'], record: {} }));
    await delay(60);
    reporter.stop();
    expect(errors.texts).toEqual([]);
  });

  test('RESTIC_PROGRESS_FPS', () => {
    expect(progressFps({})).toBeUndefined();
    expect(progressFps({ RESTIC_PROGRESS_FPS: '0.1' })).toBe(0.1);
    expect(progressFps({ RESTIC_PROGRESS_FPS: '1000' })).toBe(60);
    expect(progressFps({ RESTIC_PROGRESS_FPS: 'often' })).toBeUndefined();
    expect(progressFps({ RESTIC_PROGRESS_FPS: '0' })).toBeUndefined();
  });
});
