import { expect, test } from '@jest/globals';
import { DatamoverError } from '../../errors.ts';
import { newMasterKey } from '../key-file.ts';
import { MemoryIndex } from '../memory-index.ts';
import { noise } from '../testing/bytes.ts';
import { saveImageStream, type PackSink, type Save } from './saver.ts';
import { StreamProducer } from './stream-producer.ts';

function save(producer: StreamProducer, signal?: AbortSignal): Save {
  const sink: PackSink = {
    key: newMasterKey(),
    polynomial: '',
    uploads: 1,
    shareIndex: () => new MemoryIndex().share(),
    storePack: async () => undefined,
  };
  const options = { level: undefined, workers: 1, onBlobs: () => undefined };
  return saveImageStream(sink, producer.input, { ...options, ...(signal && { signal }) });
}

test('a stream that this process makes is saved to its end, whatever memory its chunks lie in', async () => {
  const bytes = noise('made', 3_000_000);
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 1_500_001);
    yield Uint8Array.from(bytes.subarray(1_500_001, 1_500_002));
    yield new Uint8Array();
    yield bytes.subarray(1_500_002);
  };
  const producer = new StreamProducer(chunks());
  expect(await save(producer).finished).toMatchObject({ bytes: 3_000_000 });
  await producer.close();
  expect(producer.failure).toBeUndefined();
  // The caller's own memory is as it was.
  expect(bytes.equals(noise('made', 3_000_000))).toBe(true);
});

test('a stream that cannot be made to its end fails the save, with the reason', async () => {
  const reason = new DatamoverError({ operation: 'make', cause: 'no more of it', kind: 'incomplete' });
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(100_000);
    throw reason;
  };
  const producer = new StreamProducer(chunks());
  await expect(save(producer).finished).rejects.toThrow(/make the stream: make: no more of it/);
  await producer.close();
  expect(producer.failure).toBe(reason);
});

test('a save that is stopped, or whose producer is closed, ends; nothing more is made', async () => {
  for (const way of ['stop', 'close'] as const) {
    let [made, ended] = [0, false];
    const stop = new AbortController();
    let producer: StreamProducer | undefined = undefined;
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          if (++made === 50) {
            if (way === 'stop') stop.abort();
            else void producer?.close();
          }
          yield new Uint8Array(100_000);
        }
      } finally {
        ended = true;
      }
    };
    producer = new StreamProducer(chunks());
    await expect(save(producer, stop.signal).finished).rejects.toThrow(
      way === 'stop' ? /stopped on request/ : /its producer is gone/,
    );
    await producer.close();
    expect(ended).toBe(true);
  }
});
