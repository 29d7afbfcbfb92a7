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
    stamps: (pinned) => ({ [`${VELERO}/pkg/buildinfo.Version`]: pinned }),
  });
  return { file: join(folder, 'velero'), version };
}
