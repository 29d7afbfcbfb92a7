import { DatamoverError } from '../../errors.ts';

/** How ceph-csi reaches a cluster. */
export interface CephClusterAddress {
  /** `10.0.0.1:6789`, `v2:10.0.0.1:3300`. */
  readonly monitors: readonly [string, ...string[]];
  /** The namespace of the pools in which images and the journal lie; the default one without it. */
  readonly radosNamespace?: string;
}

/** A host or address and a port, with a messenger's version before and a nonce behind as Ceph writes them. */
const MONITOR = /^(v[12]:)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:[0-9]{1,5})?(\/[0-9]+)?$/;
const RADOS_NAMESPACE = /^[A-Za-z0-9_.][A-Za-z0-9_.:+-]{0,254}$/;

/**
 * Finds a cluster in ceph-csi's `config.json` (Rook: key `csi-cluster-config-json` of ConfigMap `rook-ceph-csi-config`): a list
 * of `{clusterID, monitors, rbd: {radosNamespace}}`; older releases have `radosNamespace` at the top.
 */
export function findCephCluster(configJson: string, clusterId: string): CephClusterAddress {
  const cluster = clustersOf(configJson).find((entry) => entry['clusterID'] === clusterId);
  if (cluster === undefined) {
    throw unusable(
      `it knows no cluster ${JSON.stringify(clusterId)}`,
      'check that the mover is given the configuration of the ceph-csi driver that made the volume',
    );
  }
  const monitors = cluster['monitors'];
  const named = Array.isArray(monitors) ? monitors.map(monitorOf) : [];
  const [first, ...others] = named;
  if (first === undefined) throw unusable(`cluster ${clusterId} has no monitors`);
  const namespace = fieldsOf(cluster['rbd'])['radosNamespace'] ?? cluster['radosNamespace'] ?? '';
  if (typeof namespace !== 'string' || (namespace !== '' && !RADOS_NAMESPACE.test(namespace)))
    throw unusable(`the radosNamespace of cluster ${clusterId} is ${JSON.stringify(namespace)}`);
  return { monitors: [first, ...others], ...(namespace === '' ? {} : { radosNamespace: namespace }) };
}

function clustersOf(configJson: string): Record<string, unknown>[] {
  let clusters: unknown;
  try {
    clusters = JSON.parse(configJson);
  } catch (error) {
    throw unusable(error);
  }
  if (!Array.isArray(clusters)) throw unusable('it is no list of clusters');
  return clusters.map(fieldsOf);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

function monitorOf(monitor: unknown): string {
  if (typeof monitor === 'string' && MONITOR.test(monitor)) return monitor;
  throw unusable(`a monitor is ${JSON.stringify(monitor)}`);
}

function unusable(cause: unknown, hint?: string): DatamoverError {
  return new DatamoverError({
    operation: 'read the configuration of ceph-csi',
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}
