import { join } from 'node:path';
import { buildGo } from './go.ts';
import type { Installed } from './install.ts';

const HELM = 'helm.sh/helm/v3';

/** Builds Helm, with which the chart is checked: some two minutes of two cores the first time. */
export async function installHelm(): Promise<Installed> {
  const { folder, version } = await buildGo({
    module: 'helm',
    packages: [`${HELM}/cmd/helm`],
    versionOf: HELM,
    // `helm version`, and what charts see as .Capabilities.HelmVersion.
    stamps: (pinned) => ({ [`${HELM}/internal/version.version`]: pinned }),
  });
  return { file: join(folder, 'helm'), version };
}
