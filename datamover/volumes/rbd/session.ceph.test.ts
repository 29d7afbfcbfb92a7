import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { ownerName, TRANSFER_VARIABLE } from '../../process/owner.ts';
import { commandFailure, run, start } from '../../process/spawn.ts';
import type { DriverSite } from '../driver.suite.ts';
import { readFeed } from '../testing/feed.ts';
import { sorted } from '../testing/printable.ts';
import { childrenOf } from '../testing/processes.ts';
import type { RbdDriver } from './driver.ts';
import type { PinnedSnap } from './read-job.ts';
import { useCeph } from './testing/cluster.ts';
import { rbdSite } from './testing/sites.ts';

const MIB = 1 << 20;
const PATIENCE = 300_000;
const DYING = fileURLToPath(new URL('testing/dying-holder.js', import.meta.url));
const RENEWING = fileURLToPath(new URL('testing/renewing-holder.js', import.meta.url));
const HOLDER = fileURLToPath(new URL('../testing/holder.js', import.meta.url));

describePeer('ceph', 'the process that talks to Ceph', () => {
  const cluster = useCeph();
  let site: DriverSite;

  beforeAll(async () => {
    site = await rbdSite(cluster.ceph);
  }, PATIENCE);
  afterAll(async () => {
    await site.dispose();
  }, PATIENCE);

  const made = async (): Promise<{ readonly one: string; readonly two: string }> => {
    const volume = await site.makeVolume(24 * MIB);
    await volume.write(0, randomBytes(4 * MIB));
    const one = await volume.snapshot('one');
    // More than a pipe holds.
    await volume.write(9 * MIB, randomBytes(8 * MIB));
    return { one, two: await volume.snapshot('two') };
  };
  const list = async (): Promise<string[]> => sorted(await site.list());

  const pinnedSnap = async (driver: RbdDriver, location: string): Promise<PinnedSnap> => {
    const { pool, namespace, image, snap, imageId, snapId } = (await driver.identify(location)).record;
    return { name: { pool, image, snap, ...(namespace !== undefined && { namespace }) }, imageId, snapId };
  };

  /** An increment's plan, and the backup that it builds on. */
  const planned = async (driver: RbdDriver, one: string, two: string) => {
    const { bytes, record } = await driver.identify(one);
    const content = await site.read(one);
    const base = { snapshotId: 'a'.repeat(64), bytes, record, content };
    return { base, plan: await driver.planRead(await driver.identify(two), { bases: [base] }) };
  };

  const isSession = async (pid: number): Promise<boolean> => {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return command.includes('session-main');
  };
  /** Those that this process, or another, has started. */
  const sessions = async (of = process.pid): Promise<number[]> => {
    const children = await childrenOf(of);
    const found = await Promise.all(children.map(isSession));
    return children.filter((_, i) => found[i]);
  };
  const oneSession = async (of = process.pid): Promise<number> => {
    const [pid, ...others] = await sessions(of);
    if (pid === undefined || others.length > 0)
      throw new Error(`${others.length} sessions besides ${pid ?? 'none'}`);
    return pid;
  };
  const GONE = /^[^\n]*the process that talks to Ceph is gone: ended by SIGKILL[^\n]*$/;

  test(
    'that is killed while it reads fails the read in one sentence; letting go takes what it held',
    async () => {
      const { one, two } = await made();
      const driver = cluster.driver();
      const { base, plan } = await planned(driver, one, two);
      const before = await list();
      const held = await driver.hold(plan);
      await held.held;
      expect(await list()).not.toEqual(before);
      for (const pid of await sessions()) process.kill(pid, 'SIGKILL');
      await expect(readFeed(plan, held.feed, 'b'.repeat(64), base)).rejects.toThrow(GONE);
      await held.release();
      expect(await list()).toEqual(before);
      const again = await driver.hold(plan);
      const { content } = await readFeed(plan, again.feed, 'b'.repeat(64), base);
      expect(content.equals(await site.read(two))).toBe(true);
      again.done?.();
      await again.release();
      expect(await list()).toEqual(before);
      await driver.close();
      expect(await sessions()).toEqual([]);
    },
    PATIENCE,
  );

  test(
    'gives ranges until it is let go, and then none',
    async () => {
      const { one, two } = await made();
      const driver = cluster.driver();
      const { base, plan } = await planned(driver, one, two);
      const held = await driver.hold(plan);
      // One thread does both: what is not read keeps the ranges waiting.
      await readFeed(plan, held.feed, 'b'.repeat(64), base);
      // Odd lengths, more than are read at once, and one that is cut at the image's end.
      const ranges = Array.from({ length: 11 }, (_, i) => ({
        offset: i * 2 * MIB + i,
        length: MIB + 7 * i + 1,
      }));
      ranges.push({ offset: 24 * MIB - 5, length: MIB });
      const content = await site.read(two);
      const got: boolean[] = [];
      for await (const { offset, bytes } of held.readRanges?.(ranges) ?? []) {
        const { length = 0 } = ranges[got.length] ?? {};
        got.push(content.subarray(offset, offset + length).equals(bytes));
      }
      expect(got).toEqual(ranges.map(() => true));
      const left = held.readRanges?.(ranges)[Symbol.asyncIterator]();
      await left?.next();
      await held.release();
      await driver.close();
      await expect(left?.next()).rejects.toThrow('the process that talks to Ceph is gone: it was ended');
    },
    PATIENCE,
  );

  test(
    'that is killed while rbd reads all of an image stops the read at once, though rbd goes on',
    async () => {
      const { two } = await made();
      const driver = cluster.driver();
      const plan = await driver.planRead(await driver.identify(two), { bases: [] });
      const held = await driver.hold(plan);
      await held.held;
      if (held.feed.kind !== 'rbd-diff') throw new Error(held.feed.kind);
      const { pipe } = held.feed;
      // rbd has begun: nobody reads its pipe, so that it cannot end.
      const session = await oneSession();
      while ((await childrenOf(session)).length === 0) await delay(20);
      const [program] = await childrenOf(session);
      process.kill(session, 'SIGKILL');
      await new Promise<void>((resolve) => pipe.failed.addEventListener('abort', () => resolve()));
      expect(await readFile(`/proc/${program ?? 0}/cmdline`, 'utf8')).toContain('export-diff');
      await expect(pipe.finish()).rejects.toThrow(GONE);
      await held.release();
      await driver.close();
    },
    PATIENCE,
  );

  test(
    'that is killed wherever it is while it begins to hold leaves nothing that a clean-up does not take away, and takes nothing of others',
    async () => {
      const { one, two } = await made();
      const rbd = (...args: string[]) => run({ file: 'rbd', args, env: cluster.ceph.environment });
      await rbd('snap', 'protect', one);
      const before = await list();
      const driver = cluster.driver();
      const pinned = await Promise.all([two, one].map((location) => pinnedSnap(driver, location)));
      const hold = async (last: number): Promise<string> => {
        const args = [DYING, JSON.stringify(site.options.ceph), JSON.stringify(pinned), String(last)];
        const env = { UV_THREADPOOL_SIZE: '1' };
        const end = await run({ file: process.execPath, args, env }).catch((error: unknown) => error);
        const failure = commandFailure(end);
        expect(failure).toMatchObject({ signal: 'SIGKILL', stderr: '' });
        return failure?.stdout ?? '';
      };
      let deaths = 0;
      for (let said = ''; said !== 'held'; deaths += 1) {
        said = await hold(deaths + 1);
        await driver.cleanUp(one);
        expect([deaths, await list()]).toEqual([deaths, before]);
      }
      // Two looks, marks, two more for what somebody protects, the mark, twice protecting, closing.
      expect(deaths).toBeGreaterThan(5);
      await driver.close();
      await rbd('snap', 'unprotect', one);
    },
    PATIENCE,
  );

  test(
    'says again and again that it lives, and lets go in the end',
    async () => {
      const { one } = await made();
      const before = await list();
      const driver = cluster.driver();
      const pinned = [await pinnedSnap(driver, one)];
      await driver.close();
      const input = new PassThrough();
      const holder = await start({
        ...{ file: process.execPath, input, env: { UV_THREADPOOL_SIZE: '1' } },
        args: [RENEWING, JSON.stringify(site.options.ceph), JSON.stringify(pinned)],
      });
      await once(holder.stdout, 'data');
      const since = async (): Promise<number> =>
        Number(/\\"since\\":(\d+)/.exec((await list()).join('\n'))?.[1] ?? 0);
      const first = await since();
      expect(first).toBeGreaterThan(0);
      while ((await since()) === first) await delay(100);
      input.end();
      await holder.finished;
      expect(await list()).toEqual(before);
    },
    PATIENCE,
  );

  test(
    'does not let go what a process of another machine holds, but for the transfer that this one carries',
    async () => {
      const { one } = await made();
      const driver = cluster.driver();
      const { name, snapId } = await pinnedSnap(driver, one);
      await driver.close();
      const rbd = async (...args: string[]): Promise<string> =>
        (await run({ file: 'rbd', args, env: cluster.ceph.environment })).stdout;
      const volume = one.replace(/@.*/, '');
      const held = async (since: number, owner: string): Promise<void> => {
        await rbd('snap', 'protect', one);
        const mark = { since, snaps: [{ name, snapId }] };
        await rbd('image-meta', 'set', volume, `datamover.hold.${owner}.00ff`, JSON.stringify(mark));
      };
      // By another session each time: what it carries is told by its environment.
      const cleanUp = async (): Promise<string[]> => {
        const driver = cluster.driver();
        return driver.cleanUp(one).finally(() => driver.close());
      };
      const left = async (): Promise<string[]> => {
        const driver = cluster.driver();
        return driver.left(one).finally(() => driver.close());
      };
      const before = await list();
      const released = [`let go ${one}, which a backup that was killed had held`];
      // By a version that knew no transfers, and by one that carries another.
      for (const owner of ['0123456789abcdef-1-1-1', '0123456789abcdef-1-1-1-0123456789ab']) {
        await held(Date.now(), owner);
        const during = await list();
        expect(await cleanUp()).toEqual([]);
        expect(await list()).toEqual(during);
        expect(await left()).toEqual([
          expect.stringMatching(
            `^left ${one}: since 2.*Z a backup holds it that may .*rbd snap unprotect ${one}`,
          ),
        ]);
        await rbd('image-meta', 'remove', volume, `datamover.hold.${owner}.00ff`);
        await rbd('snap', 'unprotect', one);
      }
      await held(Date.now() - 25 * 3_600_000, '0123456789abcdef-1-1-1');
      expect(await cleanUp()).toEqual(released);
      expect(await list()).toEqual(before);
      process.env[TRANSFER_VARIABLE] = 'b0123456789abcdef';
      try {
        await held(Date.now(), ownerName().replace(/^[0-9a-f]+/, '0123456789abcdef'));
        expect(await cleanUp()).toEqual(released);
      } finally {
        process.env[TRANSFER_VARIABLE] = '';
      }
      expect(await list()).toEqual(before);
    },
    PATIENCE,
  );

  test(
    'lets go and ends when the mover is killed',
    async () => {
      const { two } = await made();
      const before = await list();
      const holder = await start({
        file: process.execPath,
        args: [HOLDER, `rbd:${two}`, JSON.stringify(site.options)],
      });
      await once(holder.stdout, 'data');
      expect(await list()).not.toEqual(before);
      const pid = await oneSession(holder.pid);
      process.kill(holder.pid, 'SIGKILL');
      await holder.finished.catch(() => undefined);
      while (await isSession(pid)) await delay(20);
      expect(await list()).toEqual(before);
    },
    PATIENCE,
  );

  test(
    'that does not answer is not waited for by who has stopped, and is ended',
    async () => {
      const { one, two } = await made();
      const driver = cluster.driver();
      await driver.identify(one);
      const pid = await oneSession();
      process.kill(pid, 'SIGSTOP');
      const stop = new AbortController();
      const asked = driver.identify(two, stop.signal);
      stop.abort();
      await expect(asked).rejects.toMatchObject({ kind: 'cancelled', message: expect.stringContaining(two) });
      await driver.close();
      expect(await sessions()).toEqual([]);
    },
    PATIENCE,
  );
});
