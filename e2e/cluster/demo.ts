/** `make demo-cluster`: a namespace with volumes on Ceph goes through Velero into a bucket, is lost and comes back. */
import { randomBytes } from 'node:crypto';
import { run } from '../../datamover/process/spawn.ts';
import { claim } from '../servers/claims.ts';
import { clusterAt } from '../servers/kubernetes.ts';
import { findPeer, requirePeer } from '../servers/peers.ts';
import { rbdVolumes } from '../servers/rbd-storage.ts';
import { bringUp } from './bring-up.ts';
import { closing, good, note, seconds, show, step } from './story.ts';

const MEBIBYTE = 2 ** 20;
const NAMESPACE = 'shop';
const VOLUMES = [
  { name: 'database', mebibytes: 128 },
  { name: 'photos', mebibytes: 64 },
] as const;

const began = performance.now();
step('A cluster: Kubernetes, Ceph, MinIO, Velero with our plugin, our controller and agents');
const { access, already } = await bringUp((text) => console.log(text));
good(already ? 'it is up already' : `it is up (${seconds(began)})`);

const { s3, bucket, veleroNamespace, password } = access;
const cluster = clusterAt(access.kubernetes);
const volumes = rbdVolumes(cluster, access.ceph);
// Backups of an earlier demonstration on the same cluster are still there.
const started = new Date().toISOString().slice(11, 19).replaceAll(':', '');
const [first, second, back] = [`first-${started}`, `second-${started}`, `back-${started}`];

const kubectl = (...args: string[]): Promise<string> =>
  show(`kubectl ${args.join(' ')}`, () => cluster.kubectl(args));

/** The command itself; Velero ends with 0 whatever became of the backup. */
async function velero(...args: string[]): Promise<void> {
  const { file } = requirePeer('velero');
  const env = { KUBECONFIG: cluster.kubeconfig, VELERO_NAMESPACE: veleroNamespace };
  const call = async (): Promise<string> =>
    (await run({ file, args: [...args, '--namespace', veleroNamespace, '--colorized=false'], env })).stdout;
  const said = await show(
    `velero ${args.join(' ')}`,
    call,
    (all) => /^.* completed with.*$/m.exec(all)?.[0] ?? all,
  );
  if (!said.includes('completed with status: Completed')) throw new Error(said);
}

async function digests(): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const { name } of VOLUMES) found.set(name, await volumes.digest(NAMESPACE, name));
  return found;
}

step('An application: a namespace with two volumes on Ceph RBD');
await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=300s']);
await cluster.kubectl(['create', 'namespace', NAMESPACE]);
for (const { name, mebibytes } of VOLUMES) {
  const wish = { namespace: NAMESPACE, name, storageClass: access.storageClass, size: `${mebibytes}Mi` };
  await cluster.apply(claim(wish));
  await volumes.write(NAMESPACE, name, 4 * MEBIBYTE, randomBytes((mebibytes / 2) * MEBIBYTE));
}
await kubectl('get', 'pvc', '--namespace', NAMESPACE);
note('half of each is full; there is no kubelet here, so the bytes were written as a pod would write them');

step('The first backup');
await velero('backup', 'create', first, '--include-namespaces', NAMESPACE, '--wait');
await kubectl('get', 'vsb', '--namespace', NAMESPACE);

step('Life goes on: one MiB of the database changes');
await volumes.write(NAMESPACE, 'database', 9 * MEBIBYTE, randomBytes(MEBIBYTE));
const before = await digests();
for (const [name, digest] of before) note(`sha256 of ${name.padEnd(8)} now: ${digest}`);

step('The second backup: whole again, yet only what changed is moved');
await velero('backup', 'create', second, '--include-namespaces', NAMESPACE, '--wait');
await kubectl('get', 'vsb', '--namespace', NAMESPACE, '--selector', `velero.io/backup-name=${second}`);

step('Disaster');
await kubectl('delete', 'namespace', NAMESPACE, '--timeout=300s');
note('claims, volumes, snapshots and the images in Ceph are gone with it');

step('Back again');
await velero('restore', 'create', back, '--from-backup', second, '--wait');
await kubectl('get', 'pvc', '--namespace', NAMESPACE);
const after = await digests();
for (const [name, digest] of before) {
  const now = after.get(name);
  if (now !== digest) throw new Error(`${name} differs: ${digest} became ${now ?? 'nothing'}`);
  good(`sha256 of ${name}: ${digest}, the same, byte for byte`);
}

step('No lock-in: restic reads all of it without us');
const restic = findPeer('restic-current');
if ('missing' in restic) note(`restic is not here, so this step is left out: ${restic.missing}`);
else {
  const env = {
    RESTIC_REPOSITORY: `s3:${s3.endpoint}/${bucket}/restic/datamover.io/${NAMESPACE}`,
    ...{ RESTIC_PASSWORD: password, AWS_DEFAULT_REGION: s3.region },
    ...{ AWS_ACCESS_KEY_ID: s3.accessKey, AWS_SECRET_ACCESS_KEY: s3.secretKey },
  };
  for (const args of [
    ['snapshots', '--compact'],
    ['check', '--read-data'],
  ]) {
    const call = { file: restic.file, args: ['--no-cache', ...args], env };
    await show(`restic ${args.join(' ')}`, async () => (await run(call)).stdout);
  }
}

closing(`Done: lost and brought back, unharmed, in ${seconds(began)}.`);
note('The cluster is still up. make cluster-up says how to look around, make cluster-down ends it.');
