import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run } from '../../datamover/process/spawn.ts';
import { requirePeer } from '../servers/peers.ts';

/** The checkout's chart, seen from the sources as well as from the compiled tree. */
export const CHART =
  ['../../charts/datamover', '../../../charts/datamover']
    .map((folder) => fileURLToPath(new URL(folder, import.meta.url)))
    .find((folder) => existsSync(`${folder}/Chart.yaml`)) ?? 'charts/datamover';

export interface Rendering {
  readonly namespace: string;
  /** As JSON of `--values`. */
  readonly values?: object;
  /** These templates alone: `templates/agent-roles.yaml`. */
  readonly only?: readonly string[];
}

export async function helm(args: readonly string[], input = ''): Promise<string> {
  const { stdout } = await run({ file: requirePeer('helm').file, args, input });
  return stdout;
}

/** What `helm template` makes of the chart, as YAML. */
export async function renderChart({ namespace, values = {}, only = [] }: Rendering): Promise<string> {
  return helm(
    [
      ...['template', 'datamover', CHART, `--namespace=${namespace}`, '--kube-version=1.36.0', '--values=-'],
      ...only.map((template) => `--show-only=${template}`),
    ],
    JSON.stringify(values),
  );
}
