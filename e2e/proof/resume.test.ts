import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { DATAMOVER } from '../../datamover/cli/testing/command.ts';
import { start } from '../../datamover/process/spawn.ts';
import { noise } from '../../datamover/repository/testing/bytes.ts';
import { describePeer } from '../servers/describe-peers.ts';
import { startMinio } from '../servers/minio.ts';
import { CountingProxy } from './counting-proxy.ts';
import { hashOf, Site, VOLUME, type BackupResult } from './site.ts';

jest.setTimeout(180_000);

const MIB = 1 << 20;
const VOLUME_MIB = 120;
/** KiB a second: slow enough that a look at the store comes in time. */
const SLOWLY = ['--limit-upload', String(20 * 1024)];

/** Bytes of packs that are in the store. */
async function packBytes(site: Site): Promise<number> {
  const store = await site.store();
  let bytes = 0;
  for await (const { size } of store.list(['data'])) bytes += size;
  await store.close();
  return bytes;
}

/** Starts a backup and kills it as soon as this much is in the store. */
async function killMidway(site: Site, args: readonly string[], bytes: number): Promise<number> {
  const running = await start({ file: DATAMOVER, args: [...SLOWLY, ...args], env: site.environment() });
  running.stdout.resume();
  const ended = running.finished.then(
    () => true,
    () => true,
  );
  while ((await packBytes(site)) < bytes && !(await Promise.race([ended, delay(20, false)])));
  process.kill(running.pid, 'SIGKILL');
  await expect(running.finished).rejects.toThrow(/SIGKILL/);
  return packBytes(site);
}

const VOLUMES = [
  ['an image', (path: string) => ['backup', '--volume', VOLUME, `file:${path}`]],
  [
    'a stream',
    (path: string) => ['backup', '--volume', VOLUME, '--as', 'stream', '--stdin-command', '--', 'cat', path],
  ],
] as const;

describe('a killed backup in a local repository', () => {
  let site: Site;
  beforeEach(async () => {
    site = await Site.local('resume');
    await site.init();
  });
  afterEach(() => site.remove());

  test.each(VOLUMES)(
    'of %s is taken up where it was, though others have looked meanwhile',
    async (_, backUp) => {
      const path = site.path('volume');
      await writeFile(path, noise('resume', VOLUME_MIB * MIB));
      const kept = await killMidway(site, backUp(path), 40 * MIB);
      expect(kept).toBeLessThan((VOLUME_MIB - 16) * MIB);
      // Neither may take the mark of the crash away.
      expect(await site.json(['snapshots'])).toEqual([]);
      await site.datamover(['check']);

      const result = (await site.json(backUp(path))) as BackupResult;
      expect(result.data_added).toBeLessThan(VOLUME_MIB * MIB - 0.95 * kept);
      expect(result.deduplicated_bytes).toBeGreaterThan(0.95 * kept);
      const all = await packBytes(site);
      expect(all - kept).toBeLessThan(VOLUME_MIB * MIB - 0.95 * kept);
      expect(await site.restoredHash('latest')).toBe(await hashOf(path));
      // Nothing is there twice: a prune finds nothing to free.
      await site.datamover(['prune', '--max-unused', '0']);
      expect(await packBytes(site)).toBe(all);
    },
  );
});

describePeer('minio', 'a killed backup on MinIO', () => {
  test('uploads only what is missing when it runs again, killed three times', async () => {
    const proxy = await CountingProxy.before(await startMinio());
    const site = await Site.inBucket('resume', proxy.endpoint);
    try {
      await site.init();
      const path = site.path('volume');
      await writeFile(path, noise('resume', VOLUME_MIB * MIB));
      const args = ['backup', '--volume', VOLUME, `file:${path}`];
      let kept = 0;
      for (const bytes of [15, 35, 55]) kept = await killMidway(site, args, bytes * MIB);
      proxy.take();
      await site.datamover(args);
      const requests = proxy.take();
      const uploaded = requests.reduce((sum, { sent }) => sum + sent, 0);
      expect(uploaded).toBeLessThan(VOLUME_MIB * MIB - 0.95 * kept);
      expect(uploaded).toBeGreaterThan(0);
      expect(requests.filter(({ isList }) => isList).length).toBeLessThanOrEqual(3);
      expect(await site.restoredHash('latest')).toBe(await hashOf(path));
      await site.datamover(['check', '--read-data']);
    } finally {
      await site.remove();
      await proxy.close();
    }
  });
});
