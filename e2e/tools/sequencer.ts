import { createRequire } from 'node:module';
import type jestSequencer from '@jest/test-sequencer';

// Its types are those of the CommonJS module, which `import` does not give.
const { default: ByTime } = createRequire(import.meta.url)('@jest/test-sequencer') as typeof jestSequencer;

/**
 * The files that take longest, in the order in which they begin: a long one that began last would leave workers idle. Of three at
 * a time one mostly waits (a cluster's, for intervals of Velero and of Kubernetes), the others compute.
 */
export const FIRST: readonly string[] = [
  'e2e/journey/path-a',
  'datamover/transfer/workload.openzfs',
  'datamover/volumes/rbd/workload.ceph',
  'datamover/volumes/rbd/workload-csi.ceph',
  'datamover/volumes/zfs/full-pool.openzfs',
  'e2e/journey/path-b',
  'datamover/cli/storage-cross',
  'e2e/proof/crash-local',
  'e2e/proof/crash-minio',
  'datamover/volumes/zfs/suite.openzfs',
  'e2e/kubernetes/round-trip.ceph',
  'datamover/cli/storage.openzfs',
  'datamover/volumes/file/workload',
  'e2e/kubernetes/round-trip.openzfs',
  'datamover/volumes/rbd/csi.ceph',
  'e2e/proof/interop',
  'e2e/kubernetes/faults',
  'datamover/agent/agent-crash',
  'e2e/proof/gateway',
  'datamover/volumes/rbd/driver.ceph',
  'e2e/cluster/demo',
  'datamover/cli/storage.ceph',
  'e2e/velero/path-b',
];

/** Jest knows how long files take from its last run on a machine alone; a new clone has none. */
export default class Sequencer extends ByTime {
  override async sort(tests: Parameters<jestSequencer.default['sort']>[0]) {
    const rank = (path: string): number => {
      const at = FIRST.findIndex((name) => path.endsWith(`/dist/${name}.test.js`));
      return at === -1 ? FIRST.length : at;
    };
    const known = await super.sort(tests);
    return known.sort((a, b) => rank(a.path) - rank(b.path));
  }
}
