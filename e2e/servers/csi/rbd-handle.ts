/** A handle as ceph-csi writes it: version, length of the cluster's id, the id, the pool's number, a uuid. */
export interface RbdHandle {
  readonly clusterId: string;
  readonly poolId: number;
  readonly uuid: string;
}

const VERSION = '0001';

export function formatRbdHandle({ clusterId, poolId, uuid }: RbdHandle): string {
  const length = clusterId.length.toString(16).padStart(4, '0');
  return [VERSION, length, clusterId, poolId.toString(16).padStart(16, '0'), uuid].join('-');
}

/** Undefined for what is none: ceph-csi has nothing to delete then. */
export function parseRbdHandle(handle: string): RbdHandle | undefined {
  const head = /^0001-([0-9a-f]{4})-/.exec(handle);
  const length = Number.parseInt(head?.[1] ?? '', 16);
  const clusterId = handle.slice(10, 10 + length);
  const rest = /^-([0-9a-f]{16})-([0-9a-f-]{36})$/.exec(handle.slice(10 + length));
  if (rest?.[1] === undefined || rest[2] === undefined) return undefined;
  return { clusterId, poolId: Number.parseInt(rest[1], 16), uuid: rest[2] };
}
