import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { start } from '../datamover/process/spawn.ts';
import { describePeers } from '../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS } from '../e2e/servers/kubernetes.ts';
import { serviceDefinition } from '../proto/service.ts';
import { pluginExecutable } from './testing/executable.ts';
import { connect, HOST_ENV, type Connected } from './testing/host.ts';
import { backupOf, restoreOf, startActionSite, type ActionSite } from './testing/site.ts';

const lister = serviceDefinition('generated.PluginLister');
const backupAction = serviceDefinition('generated.BackupItemAction');
const backupActionV2 = serviceDefinition('v2.BackupItemAction');
const restoreAction = serviceDefinition('generated.RestoreItemAction');
const restoreActionV2 = serviceDefinition('v2.RestoreItemAction');
const deleteAction = serviceDefinition('generated.DeleteItemAction');

const MOVE = 'datamover.io/move-snapshot';

describePeers([...KUBERNETES_PEERS, 'velero'], 'the executable’s actions as Velero calls them', () => {
  let site: ActionSite;
  let executable: string;
  let open: Connected[] = [];
  beforeAll(async () => {
    [site, executable] = await Promise.all([startActionSite(), pluginExecutable()]);
    await site.cluster.apply({
      ...{ apiVersion: 'v1', kind: 'ConfigMap', data: {} },
      metadata: {
        ...{ name: 'datamover', namespace: site.velero },
        labels: { 'velero.io/plugin-config': '', [MOVE]: 'BackupItemActionV2' },
      },
    });
  }, 240_000);
  afterAll(() => site.stop());
  afterEach(async () => {
    for (const { client, process } of open) {
      client.close();
      await process.stop();
    }
    open = [];
  });

  const environment = () => ({
    ...{ KUBECONFIG: site.cluster.kubeconfig, VELERO_NAMESPACE: site.velero },
    KUBERNETES_SERVICE_HOST: undefined,
  });

  async function plugin(env: Readonly<Record<string, string | undefined>> = {}): Promise<Connected> {
    const connected = await connect({ file: executable, env: { ...environment(), ...env } });
    open.push(connected);
    return connected;
  }

  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

  function content(n: number, backup: string): object {
    return {
      ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotContent' },
      metadata: { name: `snapcontent-${n}`, labels: { 'velero.io/backup-name': backup } },
      spec: { volumeSnapshotRef: { namespace: site.application, name: `velero-${n}` } },
    };
  }

  test('all are listed, under the kinds that Velero asks for', async () => {
    const { call } = await plugin();
    const { plugins } = await call(lister.ListPlugins, {});
    expect(plugins.map(({ kind, name }) => `${kind} ${name.replace('datamover.io/', '')}`)).toEqual([
      ...['ObjectStore s3', 'BackupItemActionV2 move-snapshot', 'RestoreItemActionV2 restore-volume'],
      ...[
        'RestoreItemAction restore-claim',
        'BackupItemAction mark-moved',
        'BackupItemAction transfer-record',
      ],
      ...[
        'RestoreItemAction skip-moved',
        'DeleteItemAction free-backup',
        'DeleteItemAction free-data-upload',
      ],
    ]);
    const { ResourceSelector } = await call(backupActionV2.AppliesTo, { plugin: MOVE });
    expect(ResourceSelector?.includedResources).toEqual(['volumesnapshotcontents.snapshot.storage.k8s.io']);
  });

  test('the list comes also where no API server is', async () => {
    const { call } = await plugin({ KUBECONFIG: '/nowhere' });
    expect((await call(lister.ListPlugins, {})).plugins).toHaveLength(9);
  });

  test('a hundred contents at once have a hundred transfers, in little memory', async () => {
    const { call, end, process } = await plugin();
    const backup = backupOf(site.velero, 'wide');
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        call(backupActionV2.Execute, { plugin: MOVE, item: json(content(n, 'wide')), backup: json(backup) }),
      ),
    );
    expect(new Set(answers.map(({ operationID }) => operationID)).size).toBe(100);
    const names = await site.cluster.kubectl([
      ...['get', 'vsb', `--namespace=${site.application}`, '--selector=velero.io/backup-name=wide'],
      '--output=name',
    ]);
    expect(names.trim().split('\n')).toHaveLength(100);
    const progress = await Promise.all(
      answers.map(({ operationID }) =>
        call(backupActionV2.Progress, { plugin: MOVE, operationID, backup: json(backup) }),
      ),
    );
    for (const { progress: said } of progress)
      expect(said).toMatchObject({ completed: false, err: '', description: 'New' });
    const [, resident = '0'] =
      /VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${process.pid}/status`, 'utf8')) ?? [];
    expect(Number(resident)).toBeLessThan(160 * 1024);
    const lines = (await end()).map((line) => JSON.parse(line) as { '@level': string });
    expect(lines.filter((line) => line['@level'] !== 'info')).toEqual([]);
  }, 180_000);

  test('what has 32 MiB comes back byte for byte, or changed and whole', async () => {
    const { call } = await plugin();
    const blob = 'x'.repeat(32 << 20);
    const restore = json(restoreOf(site.velero, 'r', { backupName: 'b' }));
    const plain = json({ apiVersion: 'v1', kind: 'VolumeSnapshot', metadata: { name: 'a' }, blob });
    const same = await call(restoreAction.Execute, {
      ...{ plugin: 'datamover.io/skip-moved', item: plain, itemFromBackup: plain, restore },
    });
    expect(same.item.equals(plain)).toBe(true);
    const marked = json({
      ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', spec: { volumeName: 'pv' }, blob },
      metadata: {
        ...{ name: 'big', namespace: site.application },
        annotations: { 'datamover.io/moved-by': 'vsb-1' },
      },
    });
    const changed = await call(restoreAction.Execute, {
      ...{ plugin: 'datamover.io/restore-claim', item: marked, itemFromBackup: marked, restore },
    });
    const item = JSON.parse(changed.item.toString()) as { blob: string; spec: object };
    expect(item.blob).toBe(blob);
    expect(item.spec).not.toHaveProperty('volumeName');
  }, 120_000);

  test('what is nonsense is refused in a sentence, and harms nothing', async () => {
    const { call } = await plugin();
    const backup = json(backupOf(site.velero, 'b'));
    const restore = json(restoreOf(site.velero, 'r'));
    const calls = (item: Buffer) => [
      call(backupActionV2.Execute, { plugin: MOVE, item, backup }),
      call(backupAction.Execute, { plugin: 'datamover.io/mark-moved', item, backup }),
      call(backupAction.Execute, { plugin: 'datamover.io/transfer-record', item, backup }),
      call(restoreActionV2.Execute, {
        ...{ plugin: 'datamover.io/restore-volume', item, itemFromBackup: item, restore },
      }),
      call(restoreAction.Execute, {
        ...{ plugin: 'datamover.io/restore-claim', item, itemFromBackup: item, restore },
      }),
      call(restoreAction.Execute, {
        ...{ plugin: 'datamover.io/skip-moved', item, itemFromBackup: item, restore },
      }),
      call(deleteAction.Execute, { plugin: 'datamover.io/free-backup', item, backup }),
      call(deleteAction.Execute, { plugin: 'datamover.io/free-data-upload', item, backup }),
    ];
    for (const bytes of [Buffer.from('\u0000{'), json([]), json({ kind: 7 })])
      for (const answer of calls(bytes))
        await expect(answer).rejects.toThrow(
          /the item.* that Velero sent is (not JSON|no Kubernetes object)/,
        );
    // Objects that lack everything: whatever the answer is, it comes.
    const labels = { 'velero.io/backup-name': 'b' };
    const annotations = { 'datamover.io/moved-by': '', 'datamover.io/snapshot-id': SNAPSHOT_ONLY };
    const empty = json({ apiVersion: 'v1', kind: 'X', metadata: { name: 'x', labels, annotations } });
    const outcomes = await Promise.allSettled(calls(empty));
    expect(outcomes).toHaveLength(8);
    for (const operationID of ['', 'x', 'a/b/c'])
      await expect(call(backupActionV2.Progress, { plugin: MOVE, operationID, backup })).rejects.toThrow(
        'is no operation of this plugin',
      );
    expect((await call(lister.ListPlugins, {})).plugins).toHaveLength(9);
  }, 120_000);

  test('an API server that nobody answers for is "not yet"', async () => {
    const { call } = await plugin({ KUBECONFIG: '/nowhere/config' });
    const { progress } = await call(backupActionV2.Progress, {
      ...{ plugin: MOVE, operationID: 'a/b', backup: json(backupOf(site.velero, 'b')) },
    });
    expect(progress).toMatchObject({
      ...{ completed: false, err: '', description: 'the kubeconfig /nowhere/config does not exist' },
    });
  });

  test('a call that waits ends with its host', async () => {
    const script = `
      const { spawn } = require('node:child_process');
      const child = spawn(process.argv[1], [], { stdio: ['ignore', 'pipe', 'ignore'] });
      child.stdout.once('data', (line) => process.stdout.write(child.pid + '|' + line));`;
    const host = await start({
      ...{ file: process.execPath, args: ['-e', script, executable], env: { ...HOST_ENV, ...environment() } },
    });
    const ended = host.finished.catch(() => 'killed');
    const [line] = (await once(createInterface({ input: host.stdout }), 'line')) as [string];
    const [pid = '', , , , socket = ''] = line.split('|');
    const { Client, credentials } = await import('@grpc/grpc-js');
    const client = new Client(`unix:${socket}`, credentials.createInsecure());
    const { path, requestSerialize, responseDeserialize } = backupAction.Execute;
    const item = json(content(1000, 'waiting'));
    const backup = json(backupOf(site.velero, 'waiting'));
    const waiting = new Promise((resolve) => {
      client.makeUnaryRequest(
        ...([path, requestSerialize, responseDeserialize] as const),
        { plugin: 'datamover.io/move-snapshot-v1', item, backup },
        (error) => resolve(error),
      );
    });
    const made = ['get', 'vsb', `--namespace=${site.application}`, '--output=name'];
    const selector = '--selector=velero.io/backup-name=waiting';
    while ((await site.cluster.kubectl([...made, selector])) === '') await delay(100);
    process.kill(host.pid, 'SIGKILL');
    expect(await ended).toBe('killed');
    expect(String(await waiting)).toMatch(/UNAVAILABLE/);
    client.close();
    const running = () => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const deadline = Date.now() + 20_000;
    while (!/^$|\) Z /.test(await running()) && Date.now() < deadline) await delay(50);
    expect(await running()).toMatch(/^$|\) Z /);
  }, 120_000);
});

/** Passes for a snapshot's id. */
const SNAPSHOT_ONLY = '0'.repeat(64);
