import { describe, expect, test } from '@jest/globals';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { Control, MAX_PACK_SLOTS, type BlobDescriptor } from './control.ts';

const module = new URL('./control.js', import.meta.url).href;

/** Runs `body` in a thread, with `control` opened there, and gives what it returns. */
async function inThread<T>(control: Control, body: string): Promise<T> {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(${JSON.stringify(module)}).then(({ Control }) => {
      const control = new Control(workerData);
      parentPort.postMessage((() => { ${body} })());
    });`;
  const worker = new Worker(code, { eval: true, workerData: control.handle });
  return new Promise<T>((resolve, reject) => {
    worker.once('message', (answer: T) => resolve(answer));
    worker.once('error', reject);
  });
}

function blob(sequence: number, slab = 0): BlobDescriptor {
  return { address: 65536 + sequence, length: 1 + (sequence % 7), slab, sequence, known: -1 };
}

describe('the queue', () => {
  test('gives blobs in order, then undefined at the end of the input', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2 ** 31)), (addresses) => {
        const control = new Control();
        addresses.forEach((address, sequence) =>
          control.push({ address, length: 5, slab: 2, sequence, known: sequence - 1 }),
        );
        control.endInput();
        const popped = addresses.map(() => control.pop());
        expect(popped.map((entry) => entry?.address)).toEqual(addresses);
        expect(popped.map((entry) => entry?.known)).toEqual(addresses.map((_, sequence) => sequence - 1));
        expect(control.pop()).toBeUndefined();
      }),
    );
  });

  test('keeps addresses beyond 2 GiB', () => {
    const control = new Control();
    control.push({ address: 0xfffffff0, length: 1, slab: 0, sequence: 0, known: -1 });
    expect(control.pop()?.address).toBe(0xfffffff0);
  });

  test('gives every blob to exactly one of several threads, more blobs than it holds', async () => {
    const control = new Control();
    const total = 20_000;
    const popAll = `
      const seen = [];
      for (let blob = control.pop(); blob; blob = control.pop()) {
        if (blob.address !== 65536 + blob.sequence || blob.length !== 1 + (blob.sequence % 7)) return 'a torn blob';
        seen.push(blob.sequence);
        control.releaseSlab(blob.slab);
      }
      return seen;`;
    const threads = [inThread<number[]>(control, popAll), inThread<number[]>(control, popAll)];
    control.acquireSlab(0);
    const pushing = inThread<boolean>(
      control,
      `for (let i = 0; i < ${total}; i++) {
        if (!control.push({ address: 65536 + i, length: 1 + (i % 7), slab: 0, sequence: i })) return false;
      }
      control.endInput();
      return true;`,
    );
    expect(await pushing).toBe(true);
    const seen = (await Promise.all(threads)).flat();
    expect(seen.length).toBe(total);
    expect(new Set(seen).size).toBe(total);
    control.releaseSlab(0);
    expect(control.acquireSlab(0)).toBe(true);
  });

  test('stop wakes whoever waits: for a blob, a slab, a pack slot, room', async () => {
    const empty = new Control();
    empty.acquireSlab(3);
    empty.acquirePackSlot(1);
    const full = new Control();
    while (full.room > 0) full.push(blob(0));
    const waiters = [
      inThread(empty, 'return control.pop() === undefined'),
      inThread(empty, 'return control.acquireSlab(3) === false'),
      inThread(empty, 'return control.acquirePackSlot(1) === undefined'),
      inThread(full, 'return control.push({ address: 1, length: 1, slab: 9, sequence: 0 }) === false'),
    ];
    let answered = 0;
    for (const waiter of waiters) void waiter.then(() => answered++);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(answered).toBe(0);
    empty.stop();
    full.stop();
    expect(await Promise.all(waiters)).toEqual([true, true, true, true]);
    expect(empty.stopped).toBe(true);
    expect(empty.push(blob(1))).toBe(false);
  });
});

describe('slabs', () => {
  test('are free again when the reader and every worker have given them up', () => {
    const control = new Control();
    expect(control.acquireSlab(1)).toBe(true);
    control.push(blob(0, 1));
    control.push(blob(1, 1));
    control.releaseSlab(1);
    control.releaseSlab(1);
    // One worker is still at it: the reader would wait.
    let free = false;
    const next = inThread<boolean>(control, 'return control.acquireSlab(1)').then((got) => (free = got));
    expect(free).toBe(false);
    control.releaseSlab(1);
    return expect(next).resolves.toBe(true);
  });
});

describe('pack slots', () => {
  test('are given out once each and come back', () => {
    const control = new Control();
    const slots = Array.from({ length: MAX_PACK_SLOTS }, () => control.acquirePackSlot(MAX_PACK_SLOTS));
    expect(slots).toEqual(Array.from({ length: MAX_PACK_SLOTS }, (_, i) => i));
    control.releasePackSlot(5);
    expect(control.acquirePackSlot(MAX_PACK_SLOTS)).toBe(5);
  });
});

describe('counters', () => {
  test('add up beyond 2^32 and across handles', () => {
    const control = new Control();
    const other = new Control(control.handle);
    for (let i = 0; i < 5; i++) other.count('read', 2 ** 31);
    control.count('zero', 7);
    expect(control.counted('read')).toBe(5 * 2 ** 31);
    expect(other.counted('zero')).toBe(7);
    expect(other.counted('fresh')).toBe(0);
  });

  test('cells are claimed once each', () => {
    const control = new Control();
    const other = new Control(control.handle);
    expect([control.nextCell(), other.nextCell(), control.nextCell()]).toEqual([0, 1, 2]);
  });
});
