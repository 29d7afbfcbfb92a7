import { join } from 'node:path';
import { answers } from '../daemon.ts';
import { requirePeer } from '../peers.ts';
import { freePorts } from '../ports.ts';
import { startRestartable, type Restartable } from '../restartable.ts';
import type { CsiDriver } from './driver.ts';
import { serveCsi } from './service.ts';

export interface Sidecars {
  readonly provisioner: Restartable;
  readonly snapshotter: Restartable;
  stop(): Promise<void>;
}

export interface SidecarOptions {
  readonly kubeconfig: string;
  /** For the socket and logs. */
  readonly home: string;
}

/** Serves a driver, with the real csi-provisioner and csi-snapshotter of Kubernetes beside it, as in a driver's controller pod. */
export async function startSidecars(driver: CsiDriver, options: SidecarOptions): Promise<Sidecars> {
  const { kubeconfig, home } = options;
  const socket = join(home, `${driver.name}.sock`);
  const close = await serveCsi(driver, socket);
  const running: Restartable[] = [];
  const stop = async (): Promise<void> => {
    for (const sidecar of running) await sidecar.kill();
    close();
  };
  const begin = async (program: 'csi-provisioner' | 'csi-snapshotter', ...args: string[]) => {
    const port = await freePorts(1);
    const sidecar = await startRestartable({
      file: requirePeer(program).file,
      args: [
        ...[`--csi-address=${socket}`, `--kubeconfig=${kubeconfig}`, '--timeout=150s'],
        ...[`--http-endpoint=127.0.0.1:${port}`, '--kube-api-qps=100', '--kube-api-burst=200'],
        ...['--retry-interval-start=200ms', '--retry-interval-max=5s', ...args],
      ],
      ready: () => answers(`http://127.0.0.1:${port}/metrics`),
    });
    running.push(sidecar);
    return sidecar;
  };
  try {
    const topology = driver.topology ? ['--feature-gates=Topology=true', '--strict-topology'] : [];
    const [provisioner, snapshotter] = await Promise.all([
      begin('csi-provisioner', '--extra-create-metadata', '--default-fstype=ext4', ...topology),
      begin('csi-snapshotter', '--extra-create-metadata'),
    ]);
    return { provisioner, snapshotter, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
