/** The process behind `make cluster-up`: starts everything, writes down how it is reached, and ends everything on SIGTERM. */
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ownerName } from '../../datamover/process/owner.ts';
import { findPeer } from '../servers/peers.ts';
import { sweep } from '../servers/scratch.ts';
import {
  environmentFile,
  forgetState,
  stateDirectory,
  wantsZfs,
  writeState,
  type ClusterAccess,
} from './state.ts';
import { startSystem, type System } from './system.ts';

const ended = new Promise<void>((resolve) => {
  process.once('SIGTERM', resolve);
  process.once('SIGINT', resolve);
});

await forgetState();
const self = { owner: ownerName(), pid: process.pid, since: Date.now() };
await writeState(self);
sweep();
let system: System | undefined;
try {
  system = await startSystem({
    veleroNamespace: 'velero',
    zfs: wantsZfs(),
    onStep: (what) => console.log(`  ${what}`),
  });
  const access = accessOf(system);
  await writeFile(environmentFile(), await environment(access), { mode: 0o600 });
  await writeState({ ...self, access });
  await ended;
} finally {
  await rm(environmentFile(), { force: true });
  await system?.stop();
  await forgetState();
}

function accessOf({ cluster, ceph, rbd, machine, zfs, s3, velero, mover }: System): ClusterAccess {
  const { server, caFile, kubeconfig, home, etcd } = cluster;
  const { environment: cephEnvironment, home: cephHome, freePort, monitor } = ceph;
  const { endpoint, accessKey, secretKey, region } = s3;
  return {
    kubernetes: { server, caFile, kubeconfig, home, etcd },
    ceph: { environment: cephEnvironment, home: cephHome, freePort, monitor, pool: rbd.pool },
    storageClass: rbd.storageClass,
    ...(machine === undefined || zfs === undefined
      ? {}
      : {
          zfs: {
            ...{ environment: machine.environment, pool: zfs.poolName },
            storageClasses: [
              ...[zfs.storageClass, zfs.waitingStorageClass],
              ...[zfs.datasetStorageClass, zfs.waitingDatasetStorageClass],
            ],
          },
        }),
    s3: { endpoint, accessKey, secretKey, region },
    ...{ bucket: velero.bucket, veleroNamespace: velero.namespace, password: mover.password },
  };
}

/** Shell variables and a folder with the programs, so that `. FILE` is all that a person needs. */
async function environment(access: ClusterAccess): Promise<string> {
  const { kubernetes, ceph, zfs, s3, bucket, veleroNamespace, password } = access;
  const programs = join(stateDirectory(), 'bin');
  await rm(programs, { recursive: true, force: true });
  await mkdir(programs);
  const datamover = fileURLToPath(new URL('../../../bin/datamover', import.meta.url));
  await symlink(datamover, join(programs, 'datamover'));
  for (const [name, peer] of [
    ...[['kubectl', findPeer('kubectl')] as const, ['velero', findPeer('velero')] as const],
    ['restic', findPeer('restic-current')] as const,
  ]) {
    if (!('missing' in peer)) await symlink(peer.file, join(programs, name));
  }
  const values: Record<string, string> = {
    KUBECONFIG: kubernetes.kubeconfig,
    CEPH_CONF: ceph.environment.CEPH_CONF,
    VELERO_NAMESPACE: veleroNamespace,
    // For restic and datamover; a namespace's repository is below it.
    REPOSITORIES: `s3:${s3.endpoint}/${bucket}/restic/datamover.io`,
    RESTIC_PASSWORD: password,
    AWS_ACCESS_KEY_ID: s3.accessKey,
    AWS_SECRET_ACCESS_KEY: s3.secretKey,
    AWS_DEFAULT_REGION: s3.region,
  };
  const lines = Object.entries(values).map(([name, value]) => `export ${name}='${value}'\n`);
  const machine = zfs === undefined ? '' : `export OPENZFS_VM='${zfs.environment.OPENZFS_VM}'\n`;
  // Those of ZFS are found first: they lead into its machine.
  const paths = [...(zfs === undefined ? [] : [zfs.environment.PATH.split(':')[0] ?? '']), programs];
  return `${lines.join('')}${machine}export PATH='${paths.join(':')}':"$PATH"\n`;
}
