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
