/* Long, for one control plane and one controller serve every way in which a backup can go. */
import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { FINALIZER } from '../../api/names.ts';
import { customResourceDefinition } from '../../api/schema/kind.ts';
import { volumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../e2e/servers/minio.ts';
import { makeBucket } from '../../e2e/servers/s3-server.ts';
import { KUBERNETES_PEERS } from '../../e2e/servers/kubernetes.ts';
import { describeCause } from '../errors.ts';
import { orMissing } from '../kubernetes/api-error.ts';
import { SECRETS } from '../kubernetes/core-resources.ts';
import { until } from '../kubernetes/testing/waiting.ts';
import { findCondition } from '../kubernetes/conditions.ts';
import { LEASES } from '../kubernetes/lease.ts';
import { resourceOf } from '../kubernetes/resource.ts';
import { runOnRepository } from './repository/opening.ts';
import { DEFAULTS } from './settings.ts';
import type { AgentDouble } from './testing/agent-double.ts';
import { ControllerBench, MOVER, PASSWORD, SNAPSHOT_ID, VELERO } from './testing/bench.ts';

const NODE = 'node-1';
const DISK_BYTES = 65_536;

describePeers(
  [...KUBERNETES_PEERS, 'snapshot-controller', 'helm', 'minio'],
  "the controller's part of a backup",
  () => {
    let bench: ControllerBench;
    let agent: AgentDouble;

    beforeAll(async () => {
      bench = await ControllerBench.create();
      agent = await bench.agent(NODE);
      bench.start();
    }, 180_000);
    afterAll(async () => {
      agent.die();
      await bench.remove();
    });

    test('leads it from its snapshot to the end, and leaves nothing behind', async () => {
      const { namespace, claim, content, location } = await bench.makeSnapshot();
      const made = await bench.backUp(namespace, content);
      const waiting = await bench.processing(made);
      expect(waiting.metadata.finalizers).toEqual([FINALIZER]);
      expect(waiting.status).toMatchObject({
        ...{
          phase: 'InProgress',
          node: NODE,
          attempts: 1,
          resticrepository: `${bench.repository}/${namespace}`,
        },
        storage: { driver: 'zfs', location, bytes: 2 ** 30 },
        sourcePVCData: { name: claim, size: '1Gi', storageClassName: 'zfs', accessModes: ['ReadWriteOnce'] },
        volumeSnapshotClassName: 'zfs',
      });
      expect(Object.fromEntries(await agent.secretOf(waiting))).toEqual({
        ...{ RESTIC_REPOSITORY: `${bench.repository}/${namespace}`, RESTIC_PASSWORD: PASSWORD },
        RESTIC_HOST: expect.stringMatching(/^kubernetes-[0-9a-f]{8}$/),
      });
      // K-18: it is there before the agent needs it.
      expect(await readdir(join(bench.repository, namespace))).toContain('config');
      await agent.claim(waiting);
      await agent.succeed(waiting, SNAPSHOT_ID);
      const done = await bench.ended(made, 'Completed');
      expect(done.status).toMatchObject({ batchingStatus: 'Completed', snapshotID: SNAPSHOT_ID });
      expect(done.status?.completionTimestamp).toMatch(/Z$/);
      expect(done.status?.conditions?.map(({ type, status }) => `${type}=${status}`).sort()).toEqual([
        ...['Assigned=True', 'CleanedUp=True', 'Reconciled=True', 'Resolved=True', 'Transferred=True'],
      ]);
      const id = done.status?.transferID ?? '';
      expect(
        await orMissing(bench.client.of(SECRETS).get(MOVER, `datamover-transfer-${id}`)),
      ).toBeUndefined();
      expect(await orMissing(bench.client.of(LEASES).get(MOVER, `datamover-transfer-${id}`))).toBeUndefined();
      expect((await bench.eventsOf(made)).map(([reason]) => reason)).toContain('Complete');
      // K-06
      expect(bench.log.join('\n')).not.toContain(PASSWORD);
    });

    describe('refuses, with the reason', () => {
      test.each([
        ['NotAllowed', 'its VolumeSnapshot is not in namespace', 'K-01: a snapshot of another namespace', {}],
        [
          'NotAllowed',
          'it is none of those that the controller may read',
          'K-02: secrets of any other namespace',
          { protectedNamespace: 'kube-system' },
        ],
        [
          'SecretMissing',
          'there is no such secret',
          'a secret that is not there',
          { resticSecretRef: { name: 'none' } },
        ],
        [
          'SecretMissing',
          'and no BackupStorageLocation other to make it from',
          "OADP's secret without its location",
          { resticSecretRef: { name: 'other-volsync-restic' } },
        ],
        [
          'RepositoryMissing',
          'it does not exist',
          'a BackupTarget that is not there',
          { resticSecretRef: undefined, backupTarget: 'none' },
        ],
      ])('%s: %s (%s)', async (reason, message, what, spec) => {
        const { namespace, content } = await bench.makeSnapshot();
        const elsewhere = what.startsWith('K-01') ? await bench.cluster.makeNamespace() : namespace;
        const made = await bench.backUp(elsewhere, content, { spec });
        const ended = await bench.ended(made, 'Failed');
        expect(ended.status?.message).toContain(message);
        expect(findCondition(ended.status?.conditions, 'Reconciled')).toMatchObject({
          status: 'False',
          reason,
          message: ended.status?.message,
        });
        // K-22
        expect(await bench.eventsOf(made)).toContainEqual([reason, ended.status?.message]);
      });

      test('DriverUnknown: a driver that nobody can read', async () => {
        const { namespace, content } = await bench.makeSnapshot({ driver: 'ebs.csi.aws.com' });
        const ended = await bench.ended(await bench.backUp(namespace, content), 'Failed');
        expect(ended.status?.message).toBe(
          `use VolumeSnapshotContent ${content}: volumes of the driver ebs.csi.aws.com cannot be moved (OpenEBS ZFS and Ceph RBD can)`,
        );
      });

      test('WrongPassword: a repository that opens with another one is left as it is', async () => {
        const { namespace, content } = await bench.makeSnapshot();
        await bench.makeSecret(VELERO, 'first', {
          RESTIC_REPOSITORY: join(bench.folder, 'own'),
          RESTIC_PASSWORD: 'one',
        });
        await bench.makeSecret(VELERO, 'second', {
          RESTIC_REPOSITORY: join(bench.folder, 'own'),
          RESTIC_PASSWORD: 'two',
        });
        const first = await bench.backUp(namespace, content, {
          spec: { resticSecretRef: { name: 'first' } },
        });
        await bench.processing(first);
        const keys = await readdir(join(bench.folder, 'own', namespace, 'keys'));
        const second = await bench.backUp(namespace, content, {
          spec: { resticSecretRef: { name: 'second' } },
        });
        const ended = await bench.ended(second, 'Failed');
        expect(findCondition(ended.status?.conditions, 'Reconciled')?.reason).toBe('WrongPassword');
        expect(await readdir(join(bench.folder, 'own', namespace, 'keys'))).toEqual(keys);
        await cancel(first);
      });
    });

    const cancel = async (object: Awaited<ReturnType<ControllerBench['backUp']>>) => {
      const { namespace, name } = object.metadata;
      await bench.cluster.kubectl([
        'patch',
        'vsb',
        name,
        `--namespace=${namespace}`,
        '--type=merge',
        '--patch={"spec":{"cancel":true}}',
      ]);
    };

    test('waits for a snapshot to become ready, and says so', async () => {
      const { namespace, content } = await bench.makeSnapshot({ ready: false });
      const made = await bench.backUp(namespace, content);
      const waiting = await bench.when(made, ({ status }) => status?.message !== undefined, 'a message');
      expect(waiting.status?.message).toBe(`use VolumeSnapshotContent ${content}: the snapshot is not ready`);
      expect(findCondition(waiting.status?.conditions, 'Resolved')).toMatchObject({
        status: 'False',
        reason: 'SnapshotNotReady',
      });
      const volume = content.replace('content', 'pvc');
      await bench.makeReady(content, `${volume}@${content.replace('content', 'snapshot')}`);
      const queued = await bench.processing(made);
      expect(findCondition(queued.status?.conditions, 'Resolved')?.status).toBe('True');
      await cancel(made);
      await bench.ended(made, 'Canceled');
    });

    test('K-21: tries again what may pass, and a later attempt is not taken for the earlier one', async () => {
      const { namespace, content } = await bench.makeSnapshot();
      const made = await bench.backUp(namespace, content);
      await agent.claim(await bench.processing(made));
      await agent.fail(
        made.status === undefined ? await bench.read(made) : made,
        'StoreUnavailable',
        'back up x: the store is away',
      );
      const again = await bench.when(
        made,
        ({ status }) => status?.attempts === 2 && status.batchingStatus === 'Processing',
        'a second attempt',
      );
      expect(findCondition(again.status?.conditions, 'Transferred')).toBeUndefined();
      expect(await bench.eventsOf(made)).toContainEqual(['Retrying', 'back up x: the store is away']);
      await agent.claim(await bench.processing(made));
      await agent.fail(await bench.read(made), 'WrongPassword', 'back up x: no key file opens');
      const ended = await bench.ended(made, 'Failed');
      expect(ended.status?.message).toBe('back up x: no key file opens');
    });

    test('K-30: a queued one ends at once, one that an agent has when the agent let go', async () => {
      const { namespace, content } = await bench.makeSnapshot({ node: 'nobody' });
      const homeless = await bench.backUp(namespace, content);
      const waiting = await bench.when(
        homeless,
        ({ status }) => status?.message?.includes('no agent') === true,
        'no agent',
      );
      expect(waiting.status?.message).toContain('no agent with the driver zfs works on node nobody');
      await cancel(homeless);
      await bench.ended(homeless, 'Canceled');

      const other = await bench.makeSnapshot();
      const running = await bench.backUp(other.namespace, other.content);
      await agent.claim(await bench.processing(running));
      await cancel(running);
      const stopping = await bench.when(
        running,
        ({ status }) => status?.batchingStatus === 'Completed',
        'told to stop',
      );
      expect(stopping.status?.phase).toBe('InProgress');
      await agent.letGo(await bench.read(running));
      const ended = await bench.ended(running, 'Canceled');
      expect(ended.status?.message).toContain('it was canceled');
    });

    test('K-31: what a backup of a Ceph snap may still hold whose agent was gone when it ended is named, with what lets it go', async () => {
      const mortal = await bench.agent('node-3');
      const { namespace, content } = await bench.makeSnapshot({ node: 'node-3' });
      const made = await bench.backUp(namespace, content);
      await bench.processing(made);
      // There is no ceph-csi here: what the controller writes of one of its snapshots.
      const storage = { driver: 'rbd', location: 'rbd/csi-snap-1@csi-snap-1', bytes: 2 ** 30 } as const;
      await bench.client
        .of(resourceOf(volumeSnapshotBackup))
        .patch(namespace, made.metadata.name, { status: { storage } }, { subresource: 'status' });
      await mortal.claim(await bench.read(made));
      mortal.die();
      await cancel(made);
      const { status } = await bench.ended(made, 'Canceled');
      const volume = 'rbd:rbd/csi-snap-1@csi-snap-1';
      const told = `${volume} may still be held by what carried it on node node-3, and cannot be deleted then (DATAMOVER_TRANSFER=${status?.transferID} datamover cleanup ${volume} lets it go)`;
      expect(findCondition(status?.conditions, 'CleanedUp')).toMatchObject({
        ...{ status: 'True', message: `nothing else of it is left; ${told}` },
      });
      await until(
        async () => (await bench.eventsOf(made)).some(([reason]) => reason === 'AgentDied'),
        () => 'the event',
      );
      expect(await bench.eventsOf(made)).toContainEqual(['AgentDied', told]);
    }, 180_000);

    test('K-30: Velero gave its backup up', async () => {
      const { namespace, content } = await bench.makeSnapshot();
      await bench.cluster.apply({
        apiVersion: 'velero.io/v1',
        kind: 'Backup',
        metadata: { name: 'lost', namespace: VELERO },
        status: { phase: 'PartiallyFailed' },
      });
      const made = await bench.backUp(namespace, content, { labels: { 'velero.io/backup-name': 'lost' } });
      const ended = await bench.ended(made, 'Canceled');
      expect(ended.status?.message).toContain('Backup velero/lost is PartiallyFailed');
      const gone = await bench.backUp(namespace, content, {
        labels: { 'velero.io/backup-name': 'gone', 'velero.io/backup-uid': 'x' },
      });
      expect((await bench.ended(gone, 'Canceled')).status?.message).toContain('Backup velero/gone is gone');
    });

    test('K-31, K-32: deleted while an agent has it, it goes when the agent let go', async () => {
      const { namespace, content } = await bench.makeSnapshot();
      const made = await bench.backUp(namespace, content);
      await agent.claim(await bench.processing(made));
      await bench.cluster.kubectl([
        'delete',
        'vsb',
        made.metadata.name,
        `--namespace=${namespace}`,
        '--wait=false',
      ]);
      await bench.when(made, ({ status }) => status?.batchingStatus === 'Completed', 'told to stop');
      await agent.letGo(await bench.read(made));
      await bench.cluster.kubectl([
        'wait',
        '--for=delete',
        `vsb/${made.metadata.name}`,
        `--namespace=${namespace}`,
        '--timeout=60s',
      ]);
      expect(await readdir(join(bench.repository, namespace))).toContain('config');
    });

    test("K-15: a dead agent's transfer goes back into the queue", async () => {
      const mortal = await bench.agent('node-2');
      const { namespace, content } = await bench.makeSnapshot({ node: 'node-2' });
      const made = await bench.backUp(namespace, content);
      await mortal.claim(await bench.processing(made));
      mortal.die();
      const lost = await bench.when(
        made,
        ({ status }) => status?.batchingStatus === 'Queued' && status.claimedBy === undefined,
        'queued again',
      );
      expect(lost.status?.node).toBe('node-2');
      const reborn = await bench.agent('node-2');
      const again = await bench.processing(made);
      expect(again.status?.attempts).toBe(2);
      await reborn.claim(again);
      await reborn.succeed(again, SNAPSHOT_ID);
      await bench.ended(made, 'Completed');
      reborn.die();
    }, 180_000);

    test('K-15, K-19: what only a node that is gone reaches waits with the reason, and is given up in the end, though no controller lives so long', async () => {
      // Each controller finds the lease of an agent that died before it began: it shows only by and by that nobody renews it.
      await bench.stopController();
      (await bench.agent('gone')).die();
      bench.start();
      const { namespace, content } = await bench.makeSnapshot({ node: 'gone' });
      const made = await bench.backUp(namespace, content);
      const because = 'no agent with the driver zfs works on node gone';
      const waiting = await bench.when(
        made,
        ({ status }) => status?.message?.includes(because) === true,
        'waits for its node',
      );
      expect(findCondition(waiting.status?.conditions, 'Assigned')).toMatchObject({
        ...{ status: 'False', reason: 'NodeUnavailable' },
      });
      /** Seconds, as its status says; no more is to be noted of one that has ended. */
      const waited = async (): Promise<number> => {
        const { phase, lasted = [] } = (await bench.read(made)).status ?? {};
        const note = lasted.find(({ what }) => what === 'homeless');
        return phase === 'Failed' ? Infinity : (note?.seconds ?? 0);
      };
      const share = DEFAULTS.nodeTimeout / 2_000;
      for (let life = 1; life <= 2; life += 1) {
        expect((await bench.read(made)).status).toMatchObject({
          phase: 'InProgress',
          batchingStatus: 'Queued',
        });
        expect((await bench.read(made)).status?.attempts).toBeUndefined();
        await bench.stopController();
        const before = await waited();
        bench.start();
        // The first note of a new controller: from then on it has seen the transfer.
        await until(
          async () => {
            await bench.pass(made, 11_000);
            return (await waited()) > before;
          },
          () => `controller ${life} to begin`,
        );
        await bench.pass(made, share * 1_000);
        await until(
          async () => (await waited()) >= before + share,
          () => `controller ${life} to note that it waited`,
        );
      }
      const { status } = await bench.ended(made, 'Failed');
      expect(status?.message).toContain(because);
    }, 180_000);

    test('CRDs from before status.lasted: the time limit holds, and the log says how to renew them', async () => {
      await bench.stopController();
      const today = customResourceDefinition(volumeSnapshotBackup);
      const before: unknown = JSON.parse(JSON.stringify(today), (key, value: unknown) =>
        key === 'lasted' ? undefined : value,
      );
      const { namespace, content } = await bench.makeSnapshot({ node: 'nowhere' });
      const made = await bench.backUp(namespace, content);
      const note = { what: 'homeless', as: '1', seconds: 1 };
      const { apiVersion, kind, metadata } = made;
      const noted = {
        apiVersion,
        kind,
        metadata: { namespace, name: metadata.name },
        status: { lasted: [note] },
      };
      const refused = async (): Promise<boolean> => {
        const trial = ['apply', '--server-side', '--subresource=status', '--dry-run=server', '--filename=-'];
        const trying = bench.cluster.kubectl(trial, { input: JSON.stringify(noted) });
        return trying.then(
          () => false,
          (error: unknown) => describeCause(error).includes('status.lasted: field not declared in schema'),
        );
      };
      await bench.cluster.apply(before as object);
      await until(refused, () => 'the server goes by the older CRD');
      bench.start();
      const told = 'the CRDs are older than this controller';
      await bench.when(made, ({ status }) => status?.message?.includes('node nowhere') === true, 'waits');
      await bench.pass(made, 11_000);
      await until(
        () => bench.log.some((line) => line.includes(told)),
        () => bench.log.slice(-30).join('\n'),
      );
      await bench.pass(made, DEFAULTS.nodeTimeout);
      const { status } = await bench.ended(made, 'Failed');
      expect(status).toMatchObject({ message: expect.stringContaining('node nowhere') });
      expect(status).not.toHaveProperty('lasted');
      await bench.stopController();
      await bench.cluster.apply(today);
      await until(
        async () => !(await refused()),
        () => 'the server goes by the CRD of today',
      );
      bench.start();
    }, 180_000);

    test('K-16: limits hold while many wait, and each is carried once', async () => {
      const node = 'node-3';
      const crowd = await bench.agent(node);
      const spaces = await Promise.all([1, 2, 3].map(() => bench.cluster.makeNamespace()));
      const wanted = spaces.flatMap((namespace, place) =>
        Array.from({ length: place === 0 ? 6 : 2 }, () => namespace),
      );
      const made: Awaited<ReturnType<ControllerBench['backUp']>>[] = [];
      for (const namespace of wanted) {
        const { content } = await bench.makeSnapshot({ namespace, node });
        made.push(await bench.backUp(namespace, content));
      }
      const ended: string[] = [];
      let most = 0;
      await until(
        async () => {
          const now = await Promise.all(made.map((one) => bench.read(one)));
          const busy = now.filter(
            ({ status }) => status?.phase === 'InProgress' && status.batchingStatus === 'Processing',
          );
          most = Math.max(most, busy.length);
          const [next] = busy.filter(({ status }) => (status?.claimedBy ?? '') === '');
          if (next !== undefined) {
            await crowd.claim(next);
            await crowd.succeed(next, SNAPSHOT_ID);
            ended.push(next.metadata.namespace ?? '');
          }
          return now.every(({ status }) => status?.phase === 'Completed');
        },
        () => `${ended.length} of ${made.length}`,
        240_000,
      );
      expect(most).toBeLessThanOrEqual(2);
      expect(ended).toHaveLength(10);
      const all = await Promise.all(made.map((one) => bench.read(one)));
      expect(all.map(({ status }) => status?.attempts)).toEqual(made.map(() => 1));
      crowd.die();
    }, 300_000);

    test("OADP's way: the repository follows from the BackupStorageLocation, on a real MinIO", async () => {
      const minio = await startMinio();
      const bucket = await makeBucket(minio);
      const keys = `[default]\naws_access_key_id=${minio.accessKey}\naws_secret_access_key=${minio.secretKey}\n`;
      await bench.makeSecret(VELERO, 'cloud-credentials', { cloud: keys });
      await bench.makeSecret(VELERO, 'dm-credential', { RESTIC_PASSWORD: PASSWORD });
      await bench.cluster.apply({
        ...{
          apiVersion: 'velero.io/v1',
          kind: 'BackupStorageLocation',
          metadata: { name: 'default', namespace: VELERO },
        },
        spec: {
          ...{ provider: 'aws', objectStorage: { bucket, prefix: 'cluster-1' } },
          config: { s3Url: minio.endpoint, region: 'us-east-1', s3ForcePathStyle: 'true' },
        },
      });
      const { namespace, content } = await bench.makeSnapshot();
      const made = await bench.backUp(namespace, content, {
        spec: { resticSecretRef: { name: 'default-volsync-restic' } },
      });
      const waiting = await bench.processing(made);
      const repository = `s3:${minio.endpoint}/${bucket}/cluster-1/restic/datamover.io/${namespace}`;
      expect(waiting.status?.resticrepository).toBe(repository);
      const secret = await agent.secretOf(waiting);
      expect(secret.get('RESTIC_REPOSITORY')).toBe(repository);
      expect(secret.get('AWS_ACCESS_KEY_ID')).toBe(minio.accessKey);
      await cancel(made);
      await bench.ended(made, 'Canceled');
      await minio.stop();
    });

    test('a BackupTarget: its repository is made in a real MinIO, and its limits go to the agent', async () => {
      const minio = await startMinio();
      const location = `s3:${minio.endpoint}/${await makeBucket(minio)}/cluster-1`;
      await bench.makeSecret(VELERO, 'target-keys', {
        AWS_ACCESS_KEY_ID: minio.accessKey,
        AWS_SECRET_ACCESS_KEY: minio.secretKey,
      });
      await bench.makeSecret(VELERO, 'target-password', { RESTIC_PASSWORD: PASSWORD });
      await bench.cluster.apply({
        ...{ apiVersion: 'datamover.io/v1alpha1', kind: 'BackupTarget' },
        metadata: { name: 'main', namespace: VELERO },
        spec: {
          ...{ location, scope: 'Volume', limits: { uploadBytesPerSecond: 4096, transfers: 1 } },
          credentialsSecretRef: { name: 'target-keys' },
          passwordSecretRef: { name: 'target-password' },
        },
      });
      const { namespace, content, claim } = await bench.makeSnapshot();
      const spec = { resticSecretRef: undefined, backupTarget: 'main' };
      const made = await bench.backUp(namespace, content, { spec });
      const waiting = await bench.processing(made);
      const repository = `${location}/${namespace}/${claim}`;
      expect(waiting.status?.resticrepository).toBe(repository);
      const system = ['get', 'namespace', 'kube-system', '--output=jsonpath={.metadata.uid}'];
      const uid = await bench.cluster.kubectl(system);
      expect(Object.fromEntries(await agent.secretOf(waiting))).toEqual({
        ...{ RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: PASSWORD, 'limit.upload': '4096' },
        RESTIC_HOST: `kubernetes-${uid.slice(0, 8)}`,
        ...{ AWS_ACCESS_KEY_ID: minio.accessKey, AWS_SECRET_ACCESS_KEY: minio.secretKey },
      });
      // In the agent's place, who is a double.
      const disk = join(bench.folder, 'disk');
      await writeFile(disk, randomBytes(DISK_BYTES));
      await runOnRepository(
        {
          ...{ repository, password: PASSWORD },
          ...{ accessKeyId: minio.accessKey, secretAccessKey: minio.secretKey },
        },
        ...(['try', ['backup', `file:${disk}`, '--volume', `${namespace}/${claim}`]] as const),
        { memoryBytes: DEFAULTS.childMemory, signal: AbortSignal.timeout(120_000) },
      );
      await agent.claim(waiting);
      await agent.succeed(waiting, SNAPSHOT_ID);
      await bench.ended(made, 'Completed');
      await until(
        () =>
          Promise.resolve(
            bench
              .sizes()
              .some(
                ({ target, scope, bytes }) =>
                  target === `${VELERO}/main` && scope === `${namespace}/${claim}` && bytes > DISK_BYTES,
              ),
          ),
        () => `the size of the repository: ${JSON.stringify(bench.sizes())}`,
      );
      await minio.stop();
    });

    test("another mover's claims are left alone, until the class says otherwise", async () => {
      const { namespace, content, claim } = await bench.makeSnapshot();
      const theirs = {
        apiVersion: 'datamover.io/v1alpha1',
        kind: 'DataMoverClass',
        metadata: { name: 'theirs' },
        spec: { mover: 'example.org/mover', selector: { matchLabels: { tier: 'theirs' } } },
      };
      const ours = { ...theirs, metadata: { name: 'ours' }, spec: { mover: 'datamover.io', default: true } };
      await bench.cluster.apply(theirs, ours);
      await bench.cluster.kubectl(['label', 'pvc', claim, 'tier=theirs', `--namespace=${namespace}`]);
      const made = await bench.backUp(namespace, content);
      await bench.when(made, () => bench.log.length > 0, 'a look');
      const mine = await bench.makeSnapshot();
      const other = await bench.backUp(mine.namespace, mine.content);
      await bench.processing(other);
      expect((await bench.read(made)).status).toBeUndefined();
      expect((await bench.read(made)).metadata.finalizers).toBeUndefined();
      const [[reason, message] = []] = await bench.eventsOf(made);
      expect([reason, message]).toEqual([
        'NotOurs',
        'left alone: DataMoverClass theirs gives it to the mover example.org/mover',
      ]);
      await bench.cluster.kubectl(['delete', 'datamoverclass', 'theirs', 'ours']);
      await bench.processing(made);
      await Promise.all([cancel(made), cancel(other)]);
    });
  },
);
