import { createHash, randomUUID } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { run, start } from '../../process/spawn.ts';
import { DiffEncoder } from './diff-encoder.ts';
import type { DiffHandler } from './diff-format.ts';
import { DiffStream } from './diff-stream.ts';
import { ImageEncoder } from './image-encoder.ts';
import type { ImageHeader } from './image-format.ts';
import { ImageStream } from './image-stream.ts';
import { useCeph } from './testing/cluster.ts';
import { Both, Twin } from './testing/twin.ts';
import { Model, OBJECT_BYTES, workloads } from '../testing/workload.ts';

const START_BYTES = 5 * OBJECT_BYTES + 12_345;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describePeer('ceph', 'streams of the real rbd', () => {
  const cluster = useCeph();

  const rbd = (args: readonly string[], input?: Uint8Array) =>
    run({
      file: 'rbd',
      args,
      env: cluster.ceph.environment,
      ...(input ? { input } : {}),
    });

  /** A new image of this run's pool, as `pool/name`. */
  async function create(...options: string[]): Promise<string> {
    const name = `streams-${randomUUID()}`;
    const sizes = ['--object-size', String(OBJECT_BYTES), '--size', `${START_BYTES}B`];
    await rbd(['create', ...sizes, ...options, `${cluster.ceph.pool}/${name}`]);
    return name;
  }

  /** Reads what rbd writes into a handler, and gives the stream's bytes. */
  async function read(args: readonly string[], stream: { push(chunk: Uint8Array): void; end(): void }) {
    const running = await start({
      file: 'rbd',
      args: ['--no-progress', ...args],
      env: cluster.ceph.environment,
    });
    const chunks: Buffer[] = [];
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) {
      stream.push(chunk);
      chunks.push(chunk);
    }
    await running.finished;
    stream.end();
    return Buffer.concat(chunks);
  }

  const exportDiff = (name: string, snap: string, from: string | undefined, handler: DiffHandler) => {
    const base = from === undefined ? [] : ['--from-snap', from];
    return read(
      ['export-diff', ...base, `${cluster.ceph.pool}/${name}@${snap}`, '-'],
      new DiffStream(handler),
    );
  };

  test.each([
    ['plain', []],
    ['striped', ['--stripe-unit', '65536', '--stripe-count', '3']],
    ['without object map', ['--image-feature', 'layering']],
  ])('%s image: every diff makes the twin and, written by us, an image of its own', async (_, options) => {
    await fc.assert(
      fc.asyncProperty(workloads(7), async (steps) => {
        const [source, target] = [await create(...options), await create()];
        const image = cluster.client.open(source);
        const model = new Model(START_BYTES);
        const twin = new Twin();
        let base: string | undefined;
        for (const [i, changes] of steps.entries()) {
          for (const change of changes) model.change(image, change);
          const snap = `s${i}`;
          model.snap(image, snap);
          const parts: Uint8Array[] = [];
          const encoder = new DiffEncoder((bytes) => parts.push(Buffer.from(bytes)));
          const theirs = await exportDiff(source, snap, base, new Both(twin, encoder));
          const expected = sha256(model.bytes);
          expect(twin.header).toEqual({
            version: 1,
            bytes: model.bytes.length,
            toSnap: snap,
            ...(base === undefined ? {} : { fromSnap: base }),
          });
          expect(sha256(twin.bytes)).toBe(expected);
          const ours = Buffer.concat(parts);
          expect(sha256(ours)).toBe(sha256(theirs));
          await rbd(['import-diff', '-', `${cluster.ceph.pool}/${target}`], ours);
          expect(sha256(cluster.client.read(target))).toBe(expected);
          if (base !== undefined && i % 3 === 2) model.removeSnap(image, base);
          base = snap;
        }
        const last = new Twin();
        await exportDiff(source, base ?? '', undefined, last);
        expect(sha256(last.bytes)).toBe(sha256(model.bytes));
        image.close();
      }),
      { numRuns: 1, endOnFailure: true },
    );
  });

  test('an export of format 2 is read with every snap, and what we write is imported', async () => {
    await fc.assert(
      fc.asyncProperty(workloads(4), async (steps) => {
        const source = await create();
        const image = cluster.client.open(source);
        const model = new Model(START_BYTES);
        for (const [i, changes] of steps.entries()) {
          for (const change of changes) model.change(image, change);
          model.snap(image, `s${i}`);
        }
        image.protectSnap('s1');
        model.change(image, { kind: 'write', at: 1, length: 5000, fill: 7 });
        image.close();
        await rbd(['image-meta', 'set', `${cluster.ceph.pool}/${source}`, 'owner', 'täst']);

        const twin = new Twin();
        const seen: string[] = [];
        const parts: Uint8Array[] = [];
        const encoder = new ImageEncoder((bytes) => parts.push(Buffer.from(bytes)));
        let header: ImageHeader | undefined;
        const stream = new ImageStream({
          begin(read) {
            header = read;
            encoder.begin(read);
          },
          diff(index) {
            return new Both(encoder.diff(index), twin, () => seen.push(sha256(twin.bytes)));
          },
          end: () => encoder.end(),
        });
        await read(['export', '--export-format', '2', `${cluster.ceph.pool}/${source}`, '-'], stream);
        expect(header).toMatchObject({ order: 20, diffs: 5, metadata: new Map([['owner', 'täst']]) });
        const expected = [...model.snaps.map((snap) => model.contentOf(snap)), model.bytes].map(sha256);
        expect(seen).toEqual(expected);

        const copy = `streams-${randomUUID()}`;
        const ours = Buffer.concat(parts);
        await rbd(['import', '--export-format', '2', '-', `${cluster.ceph.pool}/${copy}`], ours);
        const snaps = [...model.snaps, null];
        expect(snaps.map((snap) => sha256(cluster.client.read(copy, snap)))).toEqual(expected);
        const listed = await rbd(['snap', 'ls', '--format', 'json', `${cluster.ceph.pool}/${copy}`]);
        expect(JSON.parse(listed.stdout)).toMatchObject([
          { name: 's0', protected: 'false' },
          { name: 's1', protected: 'true' },
          { name: 's2', protected: 'false' },
          { name: 's3', protected: 'false' },
        ]);
      }),
      { numRuns: 1, endOnFailure: true },
    );
  });

  test('a clone is read through to its parent', async () => {
    const [parent, clone] = [await create(), `streams-${randomUUID()}`];
    const image = cluster.client.open(parent);
    const model = new Model(START_BYTES);
    model.change(image, { kind: 'write', at: 5000, length: 2 * OBJECT_BYTES, fill: 3 });
    model.snap(image, 'base');
    image.close();
    const [from, to] = [`${cluster.ceph.pool}/${parent}@base`, `${cluster.ceph.pool}/${clone}`];
    await rbd(['clone', '--rbd-default-clone-format', '2', from, to]);
    const child = cluster.client.open(clone);
    model.snap(child, 'first');
    model.change(child, { kind: 'write', at: 100, length: 777, fill: 9 });
    model.change(child, { kind: 'discard', at: OBJECT_BYTES, length: OBJECT_BYTES, fill: 1 });
    model.snap(child, 'second');
    child.close();

    const twin = new Twin();
    await exportDiff(clone, 'first', undefined, twin);
    expect(sha256(twin.bytes)).toBe(sha256(model.contentOf('first')));
    await exportDiff(clone, 'second', 'first', twin);
    expect(sha256(twin.bytes)).toBe(sha256(model.contentOf('second')));
  });

  test('a stream whose program failed has a good header and no end', async () => {
    const name = await create();
    const image = cluster.client.open(name);
    image.snap('only');
    image.close();
    const twin = new Twin();
    const stream = new DiffStream(twin);
    const running = await start({
      file: 'rbd',
      args: ['export-diff', '--no-progress', '--from-snap', 'gone', `${cluster.ceph.pool}/${name}@only`, '-'],
      env: cluster.ceph.environment,
    });
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) stream.push(chunk);
    await expect(running.finished).rejects.toThrow(/exit status 2/);
    expect(() => stream.end()).toThrow(/the stream ends in it, after \d+ bytes/);
    expect(twin.ended).toBe(false);
  });
});
