/**
 * `install.ts [NAME ...]` installs the servers and peers that tests run against, all of them without a name, and writes
 * inventory.json for peers.ts. With everything there it takes less than a second. In CI (CI=true) something missing is a failure; elsewhere it is reported here, and
 * the tests that need it are counted as skipped.
 */
import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { describeCause } from '../../datamover/errors.ts';
import type { Inventory, Peer, PeerName } from '../servers/peers.ts';
import { installPackages } from './apt.ts';
import { installEtcd } from './etcd.ts';
import { probeKernel } from './kernel.ts';
import { installHelm } from './helm.ts';
import { installKubernetes } from './kubernetes.ts';
import { installLibrbd } from './librbd.ts';
import { installMinio } from './minio.ts';
import { installOpenZfs } from './openzfs.ts';
import { installCurrentRestic, installDebianRestic } from './restic.ts';
import { installRustic } from './rustic.ts';
import { installVelero } from './velero.ts';

export type Installed = Omit<Peer, 'name'>;

/** In this order, one after the other: apt has one lock, and a build takes both cores. */
const INSTALLERS: Record<PeerName, () => Promise<Installed>> = {
  mke2fs: async () => ({ file: '/sbin/mke2fs', version: await installPackages(['e2fsprogs']) }),
  openssl: async () => ({
    file: '/usr/bin/openssl',
    version: await installPackages(['openssl', 'ca-certificates']),
  }),
  python3: async () => ({ file: '/usr/bin/python3', version: await installPackages(['python3']) }),
  kernel: probeKernel,
  'restic-debian': installDebianRestic,
  'restic-current': installCurrentRestic,
  ceph: async () => ({
    file: '/usr/bin/radosgw',
    version: await installPackages(['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-common']),
  }),
  librbd: installLibrbd,
  minio: installMinio,
  rustic: installRustic,
  openzfs: installOpenZfs,
  etcd: installEtcd,
  'kube-apiserver': () => installKubernetes('kube-apiserver'),
  'kube-controller-manager': () => installKubernetes('kube-controller-manager'),
  kubectl: () => installKubernetes('kubectl'),
  'snapshot-controller': () => installKubernetes('snapshot-controller'),
  'csi-snapshotter': () => installKubernetes('csi-snapshotter'),
  'csi-provisioner': () => installKubernetes('csi-provisioner'),
  velero: installVelero,
  helm: installHelm,
};

const target = new URL('inventory.json', import.meta.url);
const inventory: Partial<Inventory> = existsSync(target)
  ? (JSON.parse(await readFile(target, 'utf8')) as Partial<Inventory>)
  : {};
const wanted = process.argv.slice(2);
let missing = 0;
for (const [name, install] of Object.entries(INSTALLERS) as [PeerName, () => Promise<Installed>][]) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const began = Date.now();
  try {
    const { file, version } = await install();
    inventory[name] = { name, file, version };
    const seconds = (Date.now() - began) / 1000;
    console.log(`${name.padEnd(24)} ${version}${seconds < 2 ? '' : ` (${seconds.toFixed(0)} s)`}`);
  } catch (error) {
    missing += 1;
    inventory[name] = { missing: describeCause(error) };
    console.log(`${name.padEnd(24)} MISSING: ${describeCause(error)}`);
  }
}

const draft = new URL(`inventory.json.${process.pid}`, import.meta.url);
await writeFile(draft, `${JSON.stringify(inventory, null, 2)}\n`);
await rename(draft, target);

if (missing > 0 && process.env['CI'] === 'true') {
  console.log(`${missing} of the servers and peers that tests need are missing, which in CI is a failure`);
  process.exitCode = 1;
}
