import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../../e2e/servers/kubernetes.ts';
import { startMinio } from '../../e2e/servers/minio.ts';
import { freePorts } from '../../e2e/servers/ports.ts';
import { makeBucket, s3Environment } from '../../e2e/servers/s3-server.ts';
import { PASSWORD, Workbench } from '../cli/testing/command.ts';
import { LEASES as LEASE_KIND } from '../kubernetes/lease.ts';
import { run } from '../process/spawn.ts';
import { AgentSite, hasEnded, transferredOf, type RunningAgent } from './testing/site.ts';

const MIB = 1 << 20;

describePeers(
  [...KUBERNETES_PEERS, 'helm', 'minio', 'restic-current'],
  'the agent on a real API server',
  (...peers) => {
    const restic = peers.find(({ name }) => name === 'restic-current')?.file ?? 'restic';
    let site: AgentSite;
    let bench: Workbench;
    let agent: RunningAgent;
    let port: number;

    beforeAll(async () => {
      site = await AgentSite.create();
      bench = await Workbench.create();
      await bench.json(['init']);
      port = await freePorts(1);
      agent = await site.agent('a', { httpAddress: { host: '127.0.0.1', port } });
    }, 180_000);
    afterAll(async () => {
      await site.remove();
      await bench.remove();
    });

    const secret = () => ({ RESTIC_REPOSITORY: bench.repository, RESTIC_PASSWORD: PASSWORD });

    test('a backup goes into the repository, restic reads it, and a restore brings it back', async () => {
      const content = await bench.image('disk.img', 32);
      const storage = { driver: 'file' as const, location: bench.path('disk.img') };
      const backup = await site.seen(await site.backup('a', storage, secret()), hasEnded);
      expect(transferredOf(backup)).toBe('True Complete');
      expect(backup.status).toMatchObject({
        ...{ phase: 'SnapshotBackupDone', batchingStatus: 'Processing', format: 'image' },
        progress: { totalBytes: 32 * MIB, bytesDone: 32 * MIB, percent: 100 },
        claimedBy: expect.stringMatching(/^agent-a-/),
        startTimestamp: expect.stringMatching(/Z$/),
        message: expect.stringContaining(`${site.shop}/db is backed up as`),
      });
      expect(backup.status?.amounts?.read).toBe(32 * MIB);
      const id = backup.status?.snapshotID ?? '';
      const { stdout } = await run({
        ...{ file: restic, args: ['dump', id, '/image/000000/data', '--no-lock'] },
        env: { ...bench.environment(), RESTIC_PROGRESS_FPS: '0' },
      });
      expect(stdout.length).toBeGreaterThan(MIB);

      const target = bench.path('again.img');
      const restore = await site.restore('a', { driver: 'file', location: target }, secret(), {
        snapshotID: id,
      });
      const restored = await site.seen(restore, hasEnded);
      expect(transferredOf(restored)).toBe('True Complete');
      expect(restored.status).toMatchObject({
        phase: 'SnapshotRestoreDone',
        snapshotID: id,
        verification: { state: 'Passed' },
      });
      expect((await readFile(target)).equals(content)).toBe(true);
      // K-11: nothing that the controller owns was touched, and nothing of it is left here.
      expect(restored.status?.node).toBe('a');
      await site.seen(restored, () => true);
      expect(await readdir(site.scratch('a'))).toHaveLength(1);
    });

    test('its metrics tell what it has carried', async () => {
      const said = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      for (const line of [
        'datamover_transfers_total{operation="backup",driver="file",outcome="completed"} 1',
        'datamover_transfers_total{operation="restore",driver="file",outcome="completed"} 1',
        `datamover_transfer_bytes_total{operation="backup",driver="file",kind="read"} ${32 * MIB}`,
        'datamover_transfer_duration_seconds_count{operation="backup",driver="file"} 1',
        'datamover_transfers_running{operation="backup"} 0',
      ])
        expect(said.split('\n')).toContain(line);
    });

    test('K-17: the node’s agent is known by its lease, with its drivers', async () => {
      const lease = await site.controller.of(LEASE_KIND).get(site.mover, 'datamover-agent-a');
      expect(lease.metadata.annotations).toMatchObject({
        'datamover.io/node': 'a',
        'datamover.io/drivers': 'file',
      });
      expect(lease.metadata.labels).toMatchObject({ 'datamover.io/agent': 'a' });
      expect(lease.spec?.holderIdentity).not.toBe('');
    });

    test('K-21: a wrong password and a missing secret are failures for good, in the command’s own words', async () => {
      await bench.image('small.img', 1);
      const storage = { driver: 'file' as const, location: bench.path('small.img') };
      const wrong = await site.seen(
        await site.backup('a', storage, { ...secret(), RESTIC_PASSWORD: 'wrong' }),
        hasEnded,
      );
      expect(transferredOf(wrong)).toBe('False WrongPassword');
      expect(wrong.status?.message).toMatch(/^back up .*\/db: open repository .*password/);
      expect(wrong.status?.phase).toBe('InProgress');
      const nowhere = await site.backup('a', storage, { ...secret(), RESTIC_REPOSITORY: bench.path('none') });
      expect(transferredOf(await site.seen(nowhere, hasEnded))).toBe('False RepositoryMissing');
      const gone = await site.backup('a', { ...storage, location: bench.path('no such image') }, secret());
      expect(transferredOf(await site.seen(gone, hasEnded))).toBe('False Error');
      const missing = await site.restore('a', { driver: 'file', location: bench.path('x') }, secret(), {
        snapshotID: 'abcdef0123',
      });
      expect(transferredOf(await site.seen(missing, hasEnded))).toBe('False BackupMissing');
      expect(await site.cluster.kubectl(['get', 'events', `--namespace=${site.shop}`])).toContain(
        'WrongPassword',
      );
    });

    test('K-04: a snapshot of another volume than the one that is named is not given', async () => {
      const ids = (await bench.json(['snapshots'])).flat() as { id: string }[];
      const named = { snapshotID: ids[0]?.id ?? '', sourcePVCData: { name: 'other' } };
      const restore = await site.restore(
        'a',
        { driver: 'file', location: bench.path('stolen') },
        secret(),
        named,
      );
      expect(transferredOf(await site.seen(restore, hasEnded))).toBe('False BackupMissing');
    });

    test('K-06: no secret is in a status, an event or a log', async () => {
      const scope = `--namespace=${site.shop}`;
      const said = [
        await site.cluster.kubectl(['get', 'vsb,vsr,events', scope, '--output=json']),
        JSON.stringify(agent.lines),
      ];
      for (const text of said) expect(text).not.toContain(PASSWORD);
    });

    test('into MinIO, with its keys from the secret alone', async () => {
      const minio = await startMinio();
      const keys = {
        ...secret(),
        ...s3Environment(minio),
        RESTIC_REPOSITORY: `s3:${minio.endpoint}/${await makeBucket(minio)}/shop`,
      };
      await bench.run(['init'], { env: keys });
      await bench.image('s3.img', 8);
      const storage = { driver: 'file' as const, location: bench.path('s3.img') };
      const backup = await site.seen(await site.backup('a', storage, keys), hasEnded);
      expect(transferredOf(backup)).toBe('True Complete');
      await run({ file: restic, args: ['check', '--read-data'], env: bench.environment(keys) });
    });

    test('an idle agent takes no more than 100 MiB', async () => {
      const status = await readFile(`/proc/${agent.pid}/status`, 'utf8');
      const kib = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]);
      expect(kib).toBeLessThanOrEqual(100 * 1024);
    });
  },
);
