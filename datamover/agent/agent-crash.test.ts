import { readdir, readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { LEASES as LEASE_NAMES } from '../../api/names.ts';
import { startCuttingProxy, type CuttingProxy } from '../../e2e/servers/cutting-proxy.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../../e2e/servers/kubernetes.ts';
import { startMinio } from '../../e2e/servers/minio.ts';
import { makeBucket, s3Environment } from '../../e2e/servers/s3-server.ts';
import { PASSWORD, Workbench } from '../cli/testing/command.ts';
import { orMissing } from '../kubernetes/api-error.ts';
import { LEASES, LeaseClaim, processIdentity } from '../kubernetes/lease.ts';
import { until } from '../kubernetes/testing/waiting.ts';
import { beginHeartbeat } from './heartbeat.ts';
import { AgentSite, hasEnded, TEST_LEASE_SECONDS, transferredOf, type RunningAgent } from './testing/site.ts';
import { BACKUPS, type Backup } from './transfer.ts';

describePeers([...KUBERNETES_PEERS, 'helm', 'minio'], 'the agent when things die', () => {
  let site: AgentSite;
  let bench: Workbench;
  /** The way to the store: swallowed, a transfer begins and does not get on. */
  let way: CuttingProxy;
  let secret: Record<string, string>;
  const agents: RunningAgent[] = [];

  beforeAll(async () => {
    site = await AgentSite.create();
    bench = await Workbench.create();
    const minio = await startMinio();
    way = await startCuttingProxy(Number(new URL(minio.endpoint).port));
    const bucket = await makeBucket(minio);
    secret = { ...s3Environment(minio), RESTIC_PASSWORD: PASSWORD };
    secret['RESTIC_REPOSITORY'] = `s3:http://127.0.0.1:${way.port}/${bucket}/shop`;
    await bench.run(['init'], { env: secret });
    await bench.image('disk.img', 4);
  }, 180_000);
  afterEach(async () => {
    way.mend();
    for (const agent of agents.splice(0)) agent.kill('SIGKILL');
  });
  afterAll(async () => {
    await site.remove();
    await way.stop();
    await bench.remove();
  });

  const start: AgentSite['agent'] = async (...options) => {
    const agent = await site.agent(...options);
    agents.push(agent);
    return agent;
  };
  const backup = async (node: string): Promise<Backup> =>
    site.backup(node, { driver: 'file', location: bench.path('disk.img') }, secret);
  /** Also true of one that nobody has asked how it ended: an orphan, or the child of an agent that stands still. */
  const isGone = async (pid: number): Promise<boolean> => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    return status === '' || /^State:\s+Z/m.test(status);
  };
  const gone = async (pid: number): Promise<void> =>
    until(
      () => isGone(pid),
      () => `the end of child ${pid}`,
    );
  const holder = async (object: Backup): Promise<string | null | undefined> => {
    const name = LEASE_NAMES.transfer(object.status?.transferID ?? '');
    return (await site.controller.of(LEASES).get(site.mover, name)).spec?.holderIdentity;
  };
  const begun = (agent: RunningAgent): number => agent.lines.filter(({ msg }) => msg === 'begun').length;

  test('K-30: a cancelled transfer stops, says so, and lets go of its lease', async () => {
    const agent = await start('a');
    way.swallow();
    const object = await backup('a');
    const child = await agent.childPid();
    expect(await holder(object)).not.toBe('');
    await site.controller.of(BACKUPS).patch(site.shop, object.metadata.name, { spec: { cancel: true } });
    const ended = await site.seen(object, hasEnded);
    expect(transferredOf(ended)).toBe('False Canceled');
    expect(ended.status?.message).toMatch(/cancelled/);
    await gone(child);
    await until(
      async () => (await holder(object)) === '',
      () => 'the release of the lease',
    );
    const folders = await readdir(site.scratch('a'));
    expect(folders).toHaveLength(1);
    expect(await readdir(`${site.scratch('a')}/${folders[0] ?? ''}`)).toEqual(['lock']);
  });

  test('K-30: the child of an object that is gone stops', async () => {
    const agent = await start('a');
    way.swallow();
    const object = await backup('a');
    const child = await agent.childPid();
    await site.controller.of(BACKUPS).delete(site.shop, object.metadata.name);
    await gone(child);
    await agent.said(/let go: its object is gone/);
  });

  test('K-31: a lease that was deleted with the end of its transfer is not made anew by an agent whose child has not ended', async () => {
    const agent = await start('l');
    way.swallow();
    const object = await backup('l');
    const child = await agent.childPid();
    const name = LEASE_NAMES.transfer(object.status?.transferID ?? '');
    const lease = async () => orMissing(site.controller.of(LEASES).get(site.mover, name));
    // It hears nothing before SIGKILL comes, 5 s later; the lease is renewed every 2 s.
    process.kill(child, 'SIGSTOP');
    const renewed = (await lease())?.spec?.renewTime;
    const ended = { status: { phase: 'Canceled' as const } };
    await site.controller
      .of(BACKUPS)
      .patch(site.shop, object.metadata.name, ended, { subresource: 'status' });
    await agent.said(/let go: it has ended/);
    await until(
      async () => (await lease())?.spec?.renewTime !== renewed,
      () => 'another renewal',
    );
    await site.controller.of(LEASES).delete(site.mover, name);
    await gone(child);
    // What its agent does at last.
    await until(
      async () =>
        (await readdir(`${site.scratch('l')}/${(await readdir(site.scratch('l')))[0] ?? ''}`)).length === 1,
      () => 'the files of the transfer are removed',
    );
    expect(await lease()).toBeUndefined();
  });

  test('K-13: a lease that somebody deleted is made anew while its transfer is to go on', async () => {
    const agent = await start('m');
    way.swallow();
    const object = await backup('m');
    await agent.childPid();
    const name = LEASE_NAMES.transfer(object.status?.transferID ?? '');
    await site.controller.of(LEASES).delete(site.mover, name);
    await until(
      async () => (await orMissing(site.controller.of(LEASES).get(site.mover, name))) !== undefined,
      () => 'the lease is made anew',
    );
    way.mend();
    expect(transferredOf(await site.seen(object, hasEnded))).toBe('True Complete');
    expect(begun(agent)).toBe(1);
  });

  test('K-15: a child whose transfer was put back into the queue stops, and nothing is said of it', async () => {
    const agent = await start('a');
    way.swallow();
    const object = await backup('a');
    const child = await agent.childPid();
    const patch = { status: { claimedBy: null, batchingStatus: 'Queued' as const } };
    await site.controller
      .of(BACKUPS)
      .patch(site.shop, object.metadata.name, patch, { subresource: 'status' });
    await gone(child);
    const now = await site.controller.of(BACKUPS).get(site.shop, object.metadata.name);
    expect([now.status?.claimedBy, transferredOf(now)]).toEqual([undefined, 'Unknown Processing']);
  });

  test.each([
    ['that is killed', 'SIGKILL'],
    ['that somebody stops by hand', 'SIGTERM'],
  ] as const)(
    'K-21: a child %s is a failure that may pass; given again, it is carried',
    async (_, signal) => {
      const agent = await start('a');
      way.swallow();
      const object = await backup('a');
      process.kill(await agent.childPid(), signal);
      expect(transferredOf(await site.seen(object, hasEnded))).toBe('False TransferFailed');
      way.mend();
      const patch = { status: { claimedBy: null } };
      await site.controller
        .of(BACKUPS)
        .patch(site.shop, object.metadata.name, patch, { subresource: 'status' });
      const again = await site.seen(object, (now) => transferredOf(now) === 'True Complete');
      expect(again.status?.phase).toBe('SnapshotBackupDone');
    },
  );

  test('K-14: what a killed agent had is adopted by the next one, and its secrets are removed', async () => {
    const first = await start('b');
    way.swallow();
    const object = await backup('b');
    const child = await first.childPid();
    first.kill('SIGKILL');
    await first.ended;
    await gone(child);
    way.mend();
    const second = await start('b');
    await second.said(/files of an agent that was killed are removed/);
    const ended = await site.seen(object, hasEnded);
    expect(transferredOf(ended)).toBe('True Complete');
    expect(ended.status?.claimedBy).not.toBe(object.status?.claimedBy);
    expect(second.lines.find(({ msg }) => msg === 'begun')).toMatchObject({ adopted: true });
    expect(await readdir(site.scratch('b'))).toHaveLength(1);
  }, 180_000);

  test('K-14: what a killed agent could not tell any more is found in the repository, and not made twice', async () => {
    const first = await start('h', { leaseSeconds: 600 });
    way.swallow();
    const object = await backup('h');
    const child = await first.childPid();
    // Its child comes to its end, and nobody hears of it.
    first.kill('SIGSTOP');
    way.mend();
    const tag = `transfer=${object.status?.transferID ?? ''}`;
    const made = async (): Promise<readonly { readonly id: string }[]> => {
      const { stdout } = await bench.run(['snapshots', '--json', '--tag', tag], { env: secret });
      return JSON.parse(stdout) as { id: string }[];
    };
    await until(
      async () => (await made()).length === 1,
      () => 'the snapshot',
    );
    const [snapshot] = await made();
    first.kill('SIGKILL');
    await gone(child);
    // Not to wait for it to run out.
    await site.controller
      .of(LEASES)
      .delete(site.mover, LEASE_NAMES.transfer(object.status?.transferID ?? ''));
    await start('h');
    const ended = await site.seen(object, hasEnded);
    expect(transferredOf(ended)).toBe('True Complete');
    expect(ended.status?.snapshotID).toBe(snapshot?.id);
    expect(await made()).toHaveLength(1);
  }, 180_000);

  test('K-12: of two agents at the same objects one gets each', async () => {
    const both = [
      await start('c', { scratch: site.scratch('c1') }),
      await start('c', { scratch: site.scratch('c2') }),
    ];
    const objects = await Promise.all(Array.from({ length: 6 }, () => backup('c')));
    for (const object of objects)
      expect(transferredOf(await site.seen(object, hasEnded))).toBe('True Complete');
    expect(both.map(begun).reduce((sum, count) => sum + count)).toBe(objects.length);
  }, 180_000);

  test('an API server that is killed and comes back does not end a transfer, and what came of it is told', async () => {
    const agent = await start('d', { leaseSeconds: 60 });
    way.swallow();
    const object = await backup('d');
    const child = await agent.childPid();
    await site.cluster.apiServer.kill();
    way.mend();
    await gone(child);
    await site.cluster.apiServer.start();
    const ended = await site.seen(object, hasEnded);
    expect(transferredOf(ended)).toBe('True Complete');
    expect(begun(agent)).toBe(1);
  }, 180_000);

  test('K-13: a child is stopped before its lease runs out, and begun again when the server is back', async () => {
    const agent = await start('e');
    way.swallow();
    const object = await backup('e');
    const child = await agent.childPid();
    await site.cluster.apiServer.kill();
    await agent.said(/lease of the transfer is lost or cannot be renewed/);
    await gone(child);
    way.mend();
    await site.cluster.apiServer.start();
    const ended = await site.seen(object, hasEnded);
    expect(transferredOf(ended)).toBe('True Complete');
    expect(begun(agent)).toBe(2);
  }, 180_000);

  test('K-13: the child of an agent that stands still ends before another agent begins', async () => {
    const still = await start('k', { scratch: site.scratch('k1') });
    way.swallow();
    const object = await backup('k');
    const child = await still.childPid();
    still.kill('SIGSTOP');
    const other = await start('k', { scratch: site.scratch('k2') });
    const second = await other.childPid();
    expect(second).not.toBe(child);
    expect(await isGone(child)).toBe(true);
    way.mend();
    expect(transferredOf(await site.seen(object, hasEnded))).toBe('True Complete');
    // What it says when it wakes is of no matter any more.
    still.kill('SIGCONT');
    await still.said(/lease of the transfer is lost|the transfer is let go/);
    expect(transferredOf(await site.seen(object, hasEnded))).toBe('True Complete');
  }, 180_000);

  test('K-13: a lease that was nearly lost is renewed again for as long as somebody may be at work under it', async () => {
    const claim = (): LeaseClaim =>
      new LeaseClaim({
        ...{ client: site.controller, namespace: site.mover, name: 'datamover-transfer-stuck' },
        ...{ identity: processIdentity(), durationSeconds: TEST_LEASE_SECONDS },
      });
    const heartbeat = await beginHeartbeat(claim(), () => undefined);
    if (heartbeat === undefined) throw new Error('somebody else has the lease');
    const renewed = async (): Promise<number> => {
      const { spec } = await site.controller.of(LEASES).get(site.mover, 'datamover-transfer-stuck');
      return Date.parse(spec?.renewTime ?? '');
    };
    // It has seen the lease, and knows how old it grows.
    const other = claim();
    expect(await other.acquireOrRenew()).toBe(false);
    await site.cluster.apiServer.kill();
    await new Promise((resolve) => heartbeat.lost.addEventListener('abort', resolve));
    // Its child waits in the kernel and does not end.
    const away = Date.now();
    await site.cluster.apiServer.start();
    await until(
      async () => (await renewed()) > away,
      () => 'the lease is renewed',
    );
    expect(await other.acquireOrRenew()).toBe(false);
    await heartbeat.release();
    expect(await other.acquireOrRenew()).toBe(true);
  }, 180_000);

  test('a store that is away for a while costs no attempt', async () => {
    const agent = await start('f');
    way.refuse();
    const object = await backup('f');
    await agent.childPid();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    way.mend();
    expect(transferredOf(await site.seen(object, hasEnded))).toBe('True Complete');
    expect(begun(agent)).toBe(1);
  });

  test('SIGTERM: what runs may end, and nothing new is begun', async () => {
    const agent = await start('g');
    way.swallow();
    const running = await backup('g');
    await agent.childPid();
    agent.kill('SIGTERM');
    await agent.said(/waiting for transfers/);
    const late = await backup('g');
    way.mend();
    expect(transferredOf(await site.seen(running, hasEnded))).toBe('True Complete');
    expect(await agent.ended).toBe(0);
    const now = await site.controller.of(BACKUPS).get(site.shop, late.metadata.name);
    expect(now.status?.claimedBy).toBeUndefined();
    const lease = await site.controller.of(LEASES).get(site.mover, LEASE_NAMES.agent('g'));
    expect(lease.spec?.holderIdentity).toBe('');
  });

  test('SIGTERM: what does not end in time is stopped, and the next agent begins it again at once', async () => {
    const first = await start('h', { gracePeriodMs: 200, leaseSeconds: 60 });
    way.swallow();
    const object = await backup('h');
    await first.childPid();
    first.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    const between = await site.controller.of(BACKUPS).get(site.shop, object.metadata.name);
    expect(transferredOf(between)).toBe('Unknown Processing');
    way.mend();
    await start('h');
    expect(transferredOf(await site.seen(object, hasEnded))).toBe('True Complete');
  });
});
