import { expect, test } from '@jest/globals';
import { fileURLToPath } from 'node:url';
import { run } from '../../datamover/process/spawn.ts';
import { describePeers } from '../servers/describe-peers.ts';

const DEMO = fileURLToPath(new URL('../../../e2e/demo/run.sh', import.meta.url));

describePeers(['mke2fs', 'restic-debian'], 'make demo', () => {
  test('a disk goes, is lost and comes back, by us and by restic', async () => {
    // Somebody's own settings must not lead the demo into somebody's own repository.
    const env = { RESTIC_REPOSITORY: '/nowhere', RESTIC_PASSWORD: 'another', KEEP: undefined };
    const { stdout } = await run({ file: DEMO, args: [], env });
    const sums = [...stdout.matchAll(/sha256 (?:of the disk now: )?([0-9a-f]{64})/g)].map(([, sum]) => sum);
    expect(sums).toHaveLength(3);
    expect(new Set(sums).size).toBe(1);
    expect(stdout).toContain('no damage found');
    expect(stdout).toContain('no errors were found');
    // Results that are no terminal's get plain text.
    expect(stdout).not.toContain('\u001b');
    const grown = Number(/the repository grew by .*: (\d+\.\d) % of the disk/.exec(stdout)?.[1]);
    expect(grown).toBeLessThan(3);
  }, 300_000);
});
