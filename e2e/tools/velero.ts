import { join } from 'node:path';
import { buildGo } from './go.ts';
import type { Installed } from './install.ts';

const VELERO = 'github.com/vmware-tanzu/velero';

/** Builds Velero, server and command in one program: some four minutes of two cores the first time. */
export async function installVelero(): Promise<Installed> {
  const { folder, version } = await buildGo({
    module: 'velero',
    packages: [`${VELERO}/cmd/velero`],
    versionOf: VELERO,
    stamps: (pinned) => ({
      [`${VELERO}/pkg/buildinfo.Version`]: pinned,
      // A second server of metrics, which no flag moves: two Veleros on one machine would want the same port, on all its addresses.
      'sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress': '127.0.0.1:0',
    }),
  });
  return { file: join(folder, 'velero'), version };
}
