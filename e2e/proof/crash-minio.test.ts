import { expect, test } from '@jest/globals';
import { describePeers } from '../servers/describe-peers.ts';
import { startMinio } from '../servers/minio.ts';
import { Crashes } from './crash.ts';
import { Site } from './site.ts';

const KILLS = 96;
/** Another one finds other moments. */
const SEED = Number(process.env['DATAMOVER_CRASH_SEED'] ?? 20260401);
/** A kill may come too late; each cycle tries four. */
const MOST_CYCLES = 3 * (KILLS / 4);

describePeers(
  ['minio', 'restic-debian', 'restic-current'],
  'kill -9 in a repository on MinIO',
  (_, debian, current) => {
    test(`${KILLS} kills of backup, forget and prune lose nothing, and nothing is left over`, async () => {
      const site = await Site.inBucket('crash-minio', await startMinio());
      try {
        const crashes = new Crashes(site, [debian, current], SEED);
        await crashes.prepare();
        for (let cycle = 0; crashes.hits < KILLS && cycle < MOST_CYCLES; cycle++) await crashes.cycle(cycle);
        expect(await crashes.finish()).toBeGreaterThan(0);
        process.stdout.write(`kills, MinIO: ${JSON.stringify(crashes.tallies)}\n`);
        expect(crashes.hits).toBeGreaterThanOrEqual(KILLS);
        // Many found the process in the repository, not still starting.
        expect(crashes.hitsAtWork).toBeGreaterThan(KILLS / 4);
      } finally {
        await site.remove();
      }
    }, 1_200_000);
  },
);
