import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { run } from '../../datamover/process/spawn.ts';
import { pluginExecutable } from '../../plugin/testing/executable.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { startCluster, type Cluster } from '../servers/kubernetes.ts';
import { startMinio } from '../servers/minio.ts';
import { adminClient, type S3Server } from '../servers/s3-server.ts';
import { startVelero, VELERO_PEERS, type Velero } from '../servers/velero.ts';

describePeers(VELERO_PEERS, 'a real Velero with our plugin and its ObjectStore', () => {
  let cluster: Cluster;
  let s3: S3Server;
  let velero: Velero;
  let application: string;
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'velero-test-'));
    [cluster, s3] = await Promise.all([startCluster(), startMinio()]);
    await cluster.installSnapshotCrds();
    velero = await startVelero({ cluster, s3, plugin: await pluginExecutable() });
    application = await cluster.makeNamespace();
    const metadata = (name: string) => ({ name, namespace: application });
    await cluster.apply(
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadata('settings'), data: { colour: 'green' } },
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: metadata('large'),
        data: { blob: 'x'.repeat(900_000) },
      },
    );
  }, 300_000);
  afterAll(async () => {
    await velero.stop();
    await cluster.stop();
    await s3.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function objects(prefix: string): Promise<string[]> {
    const entries = adminClient(s3).listObjectsV2(velero.bucket, prefix, true) as AsyncIterable<{
      name: string;
    }>;
    return (await Array.fromAsync(entries)).map(({ name }) => name);
  }

  test('the server knows our plugin', async () => {
    expect(await velero.cli('plugin', 'get')).toMatch(/datamover\.io\/s3\s+ObjectStore/);
  });

  test('backup create ends as Completed, with its archive in the bucket', async () => {
    const said = await velero.cli('backup', 'create', 'first', '--include-namespaces', application, '--wait');
    expect(said).toContain('Backup completed with status: Completed');
    expect(await objects('backups/first/')).toEqual(
      expect.arrayContaining(['backups/first/first.tar.gz', 'backups/first/velero-backup.json']),
    );
  }, 120_000);

  test('describe, logs and download reach it through signed URLs', async () => {
    const description = await velero.cli('backup', 'describe', 'first', '--details');
    expect(description).toMatch(/Phase:\s+Completed/);
    expect(description).toContain(`${application}/settings`);
    expect(description).not.toMatch(/Errors:\s+[1-9]/);
    const log = await velero.cli('backup', 'logs', 'first');
    expect(log).toContain('Backed up');
    expect(log).not.toMatch(/level=error/);
    const archive = join(directory, 'first.tar.gz');
    await velero.cli('backup', 'download', 'first', '--output', archive);
    const { stdout } = await run({ file: 'tar', args: ['--list', '--gzip', '--file', archive] });
    expect(stdout).toContain(`resources/configmaps/namespaces/${application}/settings.json`);
  }, 120_000);

  test('restore brings it into another namespace', async () => {
    const other = `${application}-again`;
    const said = await velero.cli(
      ...['restore', 'create', 'back', '--from-backup', 'first', '--wait'],
      ...['--namespace-mappings', `${application}:${other}`],
    );
    const description = await velero.cli('restore', 'describe', 'back', '--details');
    expect(`${said}${description}`).toContain('Restore completed with status: Completed');
    const value = (name: string, key: string) =>
      cluster.kubectl(['get', 'configmap', name, '--namespace', other, `--output=jsonpath={.data.${key}}`]);
    expect(await value('settings', 'colour')).toBe('green');
    expect(await value('large', 'blob')).toBe('x'.repeat(900_000));
    expect(await velero.cli('restore', 'logs', 'back')).toContain('restore completed');
  }, 120_000);

  test('backup delete takes all of it out of the bucket', async () => {
    await velero.cli('backup', 'delete', 'first', '--confirm');
    await cluster.kubectl([
      ...['wait', '--for=delete', 'backup.velero.io/first', '--namespace', velero.namespace, '--timeout=90s'],
    ]);
    expect(await objects('')).toEqual([]);
  }, 120_000);

  test('the server had no trouble with the plugin', async () => {
    const log = (await velero.log()).split('\n');
    const bad = /panic|Plugin process exited - restarting/;
    expect(log.filter((line) => bad.test(line))).toEqual([]);
    // Velero kills after two seconds, in which a busy machine may not let a process end.
    const troubled =
      /level=(error|warning) (?!msg="plugin failed to exit gracefully").*(velero-plugin-datamover|datamover\.io)/;
    expect(log.filter((line) => troubled.test(line))).toEqual([]);
  });

  test('its processes end with the server', async () => {
    await velero.server.kill();
    const ours = async () =>
      (await velero.pluginProcesses()).filter(({ command }) => command.includes('velero-plugin-datamover '));
    const deadline = Date.now() + 10_000;
    while ((await ours()).length > 0 && Date.now() < deadline) await delay(100);
    expect(await ours()).toEqual([]);
  });
});
