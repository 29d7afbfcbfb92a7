import { ANNOTATIONS } from '../../api/names.ts';
import { VELERO } from '../../api/neighbours/velero.ts';
import { RESOURCES } from '../kubernetes/resources.ts';
import { openSite, type Site } from '../moving/cluster.ts';
import { isTaken, startRestore } from '../moving/restore.ts';
import { readRestoreFacts } from '../moving/restore-facts.ts';
import { leavesVolumes, mappedNamespace, restoreSelector } from '../moving/velero-marks.ts';
import { withoutMarks } from './annotate.ts';
import type {
  ActionContext,
  KubernetesItem,
  RestoreInput,
  RestoreItemAction,
  RestoreOutcome,
} from './contract.ts';
import { CLAIMS, identify } from './moved-resources.ts';

type Fields = Readonly<Record<string, unknown>>;

/**
 * A claim whose volume was moved waits for the volume that the mover brings: it loses its data source, and has a selector by
 * which nothing provisions for it and the binder knows the mover's volume.
 */
export const restoreClaim: RestoreItemAction = {
  kind: 'RestoreItemAction',
  name: 'datamover.io/restore-claim',
  appliesTo: () => ({ includedResources: [CLAIMS] }),
  execute: (input, context) => prepareClaim(input, context, 'with the claim'),
};

/** Whether the VolumeSnapshotBackup is asked for with the claim, or comes in its turn. */
export async function prepareClaim(
  { item, itemFromBackup, restore }: RestoreInput,
  context: ActionContext,
  record: 'with the claim' | 'in its turn',
): Promise<RestoreOutcome> {
  const name = itemFromBackup.metadata.annotations?.[ANNOTATIONS.movedBy];
  // What was said of the claim in its backup is not true of the new one; with `restored-by` the mover would not touch it.
  const clean = withoutMarks(item, ANNOTATIONS.restoredBy);
  const changed = clean === item ? {} : { item: clean };
  if (name === undefined || leavesVolumes(restore)) return changed;
  const site = await openSite(context);
  const namespace = item.metadata.namespace ?? '';
  const target = mappedNamespace(restore, namespace);
  if (!site.settings.enabled) {
    context.log.info(
      `the data mover is not enabled: it does not fill the claim ${target}/${item.metadata.name}`,
    );
    return changed;
  }
  if (await isTaken(site.client, restore, target, item.metadata.name)) return changed;
  if (await hasSnapshot(site, clean, target)) {
    context.log.info(`the claim ${target}/${item.metadata.name} is filled from the snapshot on its storage`);
    return changed;
  }
  const waiting = waitForVolume(
    clean,
    site.settings.destinations,
    restoreSelector(restore, target, item.metadata.name),
  );
  // Backups by actions of version 1 say it all on the claim.
  const facts = readRestoreFacts(itemFromBackup);
  if (facts !== undefined) {
    await startRestore({ namespace, name, facts }, restore, site);
    return { item: waiting };
  }
  if (isExcluded(restore.spec))
    throw new Error(
      `restore the volume of ${target}/${item.metadata.name}: its record is a volumesnapshotbackups.datamover.oadp.openshift.io, which the restore leaves out; include it`,
    );
  const additionalItems = record === 'in its turn' ? [] : [identify({ metadata: { namespace, name } })];
  return { item: waiting, additionalItems };
}

/** Velero has restored the snapshot that the claim is to be filled from: the move had failed. */
async function hasSnapshot({ client }: Site, { spec }: KubernetesItem, namespace: string): Promise<boolean> {
  const source = (spec as Fields | undefined)?.['dataSource'] as
    { readonly kind?: string; readonly name?: string } | undefined | null;
  if (source?.kind !== 'VolumeSnapshot' || source.name === undefined) return false;
  return (await client.get(RESOURCES.snapshot, namespace, source.name)) !== undefined;
}

function waitForVolume(
  item: KubernetesItem,
  destinations: Site['settings']['destinations'],
  selector: string,
): KubernetesItem {
  const filledElsewise = ['dataSource', 'dataSourceRef', 'volumeName'];
  const spec = Object.entries((item['spec'] ?? {}) as Fields).filter(
    ([key]) => !filledElsewise.includes(key),
  );
  const { storageClassName: before } = Object.fromEntries(spec);
  const destination = typeof before === 'string' ? destinations[before] : undefined;
  const { storageClassName, accessMode } = destination ?? {};
  return {
    ...item,
    spec: {
      ...Object.fromEntries(spec),
      selector: { matchLabels: { [VELERO.dynamicRestore]: selector } },
      ...(storageClassName === undefined ? {} : { storageClassName }),
      ...(accessMode === undefined ? {} : { accessModes: [accessMode] }),
    },
  };
}

/** Whether Velero's filters keep the record away, without which the data cannot be found. */
function isExcluded(spec: Fields): boolean {
  const listed = (list: unknown): boolean =>
    Array.isArray(list) &&
    list.some((name) => typeof name === 'string' && /^(\*|vsb|volumesnapshotbackups?(\..*)?)$/i.test(name));
  const included = spec['includedResources'];
  const all = !Array.isArray(included) || included.length === 0;
  return listed(spec['excludedResources']) || !(all || listed(included));
}
