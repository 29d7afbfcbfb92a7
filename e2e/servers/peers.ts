import { existsSync, readFileSync } from 'node:fs';

/** Software that we did not write and measure ourselves against. */
export type PeerName =
  | 'restic-debian'
  | 'restic-current'
  | 'rustic'
  | 'minio'
  | 'ceph'
  | 'librbd'
  | 'openzfs'
  | 'mke2fs'
  | 'openssl'
  | 'kernel'
  | 'python3'
  | 'etcd'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kubectl'
  | 'snapshot-controller'
  | 'csi-snapshotter'
  | 'csi-provisioner'
  | 'velero'
  | 'helm';

export interface Peer {
  readonly name: PeerName;
  /**
   * The program's path; of `ceph` the RADOS Gateway's, of `librbd` a folder with newer client libraries of Ceph, of `openzfs` the proxy's that runs commands in its virtual machine, of
   * `kernel` (block devices and mounts for tests) the loop driver's.
   */
  readonly file: string;
  /** What it says of its version. */
  readonly version: string;
}

/** What `make servers` writes: for every peer where it is or why it is not. */
export type Inventory = Record<PeerName, Peer | { readonly missing: string }>;

const NOT_INSTALLED = 'not installed yet: run `make servers`';

/** The checkout's `e2e/tools/inventory.json`, seen from the sources as well as from the compiled tree. */
export const INVENTORY_FILE = ['../tools/', '../../../e2e/tools/']
  .map((folder) => new URL(folder, import.meta.url))
  .filter((folder) => existsSync(new URL('minio/go.mod', folder)))
  .map((folder) => new URL('inventory.json', folder))
  .at(0);

/** Where this peer is, or why it is not there. */
export function findPeer(name: PeerName): Peer | { readonly missing: string } {
  if (INVENTORY_FILE === undefined || !existsSync(INVENTORY_FILE)) return { missing: NOT_INSTALLED };
  const inventory = JSON.parse(readFileSync(INVENTORY_FILE, 'utf8')) as Partial<Inventory>;
  const entry = inventory[name] ?? { missing: NOT_INSTALLED };
  if ('missing' in entry || existsSync(entry.file)) return entry;
  return { missing: `${entry.file} is gone: run \`make servers\`` };
}

/** For code that cannot do without the peer. */
export function requirePeer(name: PeerName): Peer {
  const peer = findPeer(name);
  if ('missing' in peer) throw new Error(`${name}: ${peer.missing}`);
  return peer;
}
