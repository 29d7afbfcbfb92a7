import { join } from 'node:path';
import { buildGo, type GoBuild } from './go.ts';
import type { Installed } from './install.ts';

const SNAPSHOTTER = 'github.com/kubernetes-csi/external-snapshotter';
const PROVISIONER = 'github.com/kubernetes-csi/external-provisioner';

/** One module for all: the CSI sidecars are built on the same Kubernetes libraries, which are compiled once this way. */
const BUILD: GoBuild = {
  module: 'kubernetes',
  packages: [
    'k8s.io/kubernetes/cmd/kube-apiserver',
    'k8s.io/kubernetes/cmd/kube-controller-manager',
    'k8s.io/kubernetes/cmd/kubectl',
    `${SNAPSHOTTER}/v8/cmd/snapshot-controller`,
    `${SNAPSHOTTER}/v8/cmd/csi-snapshotter`,
    `${PROVISIONER}/v5/cmd/csi-provisioner`,
  ],
  versionOf: 'k8s.io/kubernetes',
  // Clients that ask for the server's version get v0.0.0 from a build without these.
  stamps: (version) => ({
    'k8s.io/component-base/version.gitVersion': version,
    'k8s.io/component-base/version.gitMajor': version.slice(1).split('.')[0] ?? '',
    'k8s.io/component-base/version.gitMinor': version.split('.')[1] ?? '',
  }),
  keep: [{ module: `${SNAPSHOTTER}/client/v8`, path: 'config/crd', as: 'snapshot-crds' }],
};

export type KubernetesProgram =
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kubectl'
  | 'snapshot-controller'
  | 'csi-snapshotter'
  | 'csi-provisioner';

/** Builds the servers of a Kubernetes control plane from their Go modules: some five minutes of two cores the first time. */
export async function installKubernetes(program: KubernetesProgram): Promise<Installed> {
  const { folder, version } = await buildGo(BUILD);
  return { file: join(folder, program), version };
}
