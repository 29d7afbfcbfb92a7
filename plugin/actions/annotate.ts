import { ANNOTATIONS, BACKUP_ANNOTATIONS } from '../../api/names.ts';
import type { KubernetesItem } from './contract.ts';

/** A copy of an item with more annotations; one that is undefined is taken away. */
export function annotate(
  item: KubernetesItem,
  more: Readonly<Record<string, string | undefined>>,
): KubernetesItem {
  const annotations = Object.entries({ ...item.metadata.annotations, ...more }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return { ...item, metadata: { ...item.metadata, annotations: Object.fromEntries(annotations) } };
}

/**
 * An item without what only this plugin may say, on copies alone: who writes it on a live object would choose what a restore brings
 * or a deletion frees. The same item where there is nothing of it.
 */
export function withoutMarks(item: KubernetesItem, ...more: readonly string[]): KubernetesItem {
  const ours = [ANNOTATIONS.movedBy, ...Object.values(BACKUP_ANNOTATIONS), ...more];
  const present = ours.filter((key) => item.metadata.annotations?.[key] !== undefined);
  return present.length === 0
    ? item
    : annotate(item, Object.fromEntries(present.map((key) => [key, undefined])));
}
