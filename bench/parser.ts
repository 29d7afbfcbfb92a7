import { closeSync, openSync } from 'node:fs';
import { DiffEncoder } from '../datamover/volumes/rbd/diff-encoder.ts';
import { DiffStream } from '../datamover/volumes/rbd/diff-stream.ts';
import { SCRATCH_BYTES } from '../datamover/volumes/zfs/fletcher4.ts';
import { SendStream } from '../datamover/volumes/zfs/send-stream.ts';
import { sharedMemory } from '../datamover/process/webassembly.ts';
import type { Bench } from './bench.ts';
import { RandomBytes } from './data.ts';
import { median } from './measure.ts';
import { zvolStream } from './zvol-stream.ts';

const GIBIBYTE = 2 ** 30;
/** GiB for each second of the processor, so that a busy machine tells the same. */
const SPEED = 2;
/** At most so much of the test volume: it is in memory as a whole. */
const STREAM = 256 * 2 ** 20;
/** As much as comes of a pipe at once. */
const CHUNK = 2 ** 20;
const PASSES = 9;
const EXTENT = 64 * 1024;

interface Parser {
  push(chunk: Uint8Array): void;
  end(): void;
}

/** The readers of streams alone, whose bytes lie where a backup's do: in the memory that is shared with the checksum's code. */
export function benchParser(bench: Bench): void {
  if (!bench.wants('parser')) return;
  const send = Buffer.concat(sendStream(bench.volume('random')));
  const memory = sharedMemory(SCRATCH_BYTES + send.length);
  const bytes = new Uint8Array(memory.buffer, SCRATCH_BYTES, send.length);
  bytes.set(send);
  const handler = { record: () => undefined, payload: () => undefined };
  measurePasses(bench, 'parser zfs send', bytes, () => new SendStream(handler, { memory, scratch: 0 }));

  const extents = {
    begin: () => undefined,
    write: () => undefined,
    data: () => undefined,
    zero: () => undefined,
    end: () => undefined,
  };
  measurePasses(bench, 'parser rbd export-diff', diffStream(), () => new DiffStream(extents));
}

function measurePasses(bench: Bench, name: string, stream: Uint8Array, open: () => Parser): void {
  const speeds: number[] = [];
  for (let pass = 0; pass < PASSES; pass++) {
    const parser = open();
    const started = process.cpuUsage();
    for (let at = 0; at < stream.length; at += CHUNK) parser.push(stream.subarray(at, at + CHUNK));
    parser.end();
    const { user, system } = process.cpuUsage(started);
    speeds.push(stream.length / GIBIBYTE / ((user + system) / 1e6));
  }
  const speed = median(speeds);
  bench.add({
    ...{ kind: 'fact', name, ours: `${speed.toFixed(2)} GiB per CPU-s (median of ${PASSES} passes)` },
    ...{ bound: `${SPEED} GiB per CPU-s`, kept: speed >= SPEED },
  });
}

function sendStream(image: string): Uint8Array[] {
  const fd = openSync(image, 'r');
  try {
    return [...zvolStream(fd, STREAM)];
  } finally {
    closeSync(fd);
  }
}

function diffStream(): Uint8Array {
  const parts: Uint8Array[] = [];
  const encoder = new DiffEncoder((part) => parts.push(Buffer.from(part)));
  const random = new RandomBytes('parser');
  encoder.begin({ version: 1, toSnap: 'bench', bytes: STREAM });
  for (let offset = 0; offset < STREAM; offset += EXTENT) {
    encoder.write(offset, EXTENT);
    encoder.data(offset, random.take(EXTENT));
  }
  encoder.end();
  return Buffer.concat(parts);
}
