import { setTimeout as delay } from 'node:timers/promises';
import type { VolumeSnapshotContent } from '../../../api/neighbours/snapshot.ts';
import { isApiError } from '../../../datamover/kubernetes/api-error.ts';
import type { Client, KindClient } from '../../../datamover/kubernetes/client.ts';
import { defineResource } from '../../../datamover/kubernetes/resource.ts';

export const CONTENTS = defineResource<VolumeSnapshotContent>({
  ...{ group: 'snapshot.storage.k8s.io', version: 'v1', kind: 'VolumeSnapshotContent' },
  ...{ plural: 'volumesnapshotcontents', namespaced: false },
});

export const DOUBLE_DRIVER = 'double.csi.example.org';

/**
 * A double of the csi-snapshotter sidecar and the driver behind it, for a driver that takes no snapshots: contents get a handle and are
 * ready; a deleted one goes. The real snapshot-controller does all else. No volume of this driver holds anything.
 */
export function startSnapshotterDouble(client: Client): { stop(): Promise<void> } {
  const contents = client.of(CONTENTS);
  const stopped = new AbortController();
  const loop = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      const { items } = await contents.list().catch(() => ({ items: [] }));
      for (const content of items.filter(({ spec }) => spec.driver === DOUBLE_DRIVER))
        await serve(contents, content).catch((error: unknown) => {
          // It went, changed, or the API server is away: looked at again.
          if (!isApiError(error)) throw error;
        });
      await delay(200, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  };
  const running = loop();
  return {
    stop: async () => {
      stopped.abort();
      await running;
    },
  };
}

async function serve(
  contents: KindClient<VolumeSnapshotContent>,
  { metadata, spec, status }: VolumeSnapshotContent,
): Promise<void> {
  const name = metadata.name ?? '';
  if (metadata.deletionTimestamp !== undefined) {
    const finalizers = (metadata.finalizers ?? []).filter((one) => !one.includes('bound-protection'));
    if (finalizers.length !== metadata.finalizers?.length)
      await contents.patch(undefined, name, { metadata: { finalizers } });
    return;
  }
  if (status?.readyToUse === true) return;
  await contents.patch(
    undefined,
    name,
    {
      status: {
        ...{ snapshotHandle: spec.source.snapshotHandle ?? `snap-of-${spec.source.volumeHandle ?? ''}` },
        ...{ creationTime: Date.now() * 1e6, readyToUse: true, restoreSize: 1 << 30 },
      },
    },
    { subresource: 'status' },
  );
}
