import type { DataMoverClass } from './data-mover-class.ts';
import { ANNOTATIONS, MOVER } from './names.ts';
import type { ObjectMeta } from './schema/kind.ts';

type Selector = NonNullable<DataMoverClass['spec']['selector']>;
type Labels = Readonly<Record<string, string>>;

/** Who moves a claim. */
export type MoverChoice =
  | { readonly is: 'ours'; readonly of?: DataMoverClass }
  /** Another vendor's mover has it, or nobody. */
  | { readonly is: 'others'; readonly because: string }
  /** A class is named that does not exist (yet). */
  | { readonly is: 'missing'; readonly name: string };

/**
 * The class that the object names, else the one that the claim's annotation names, else the first by name whose selector matches the
 * claim's labels, else the first by name that is a default. Without any class everything is ours.
 */
export function chooseMover(
  classes: readonly DataMoverClass[],
  named: string | undefined,
  claim: Pick<ObjectMeta, 'labels' | 'annotations'> = {},
): MoverChoice {
  const name = named ?? claim.annotations?.[ANNOTATIONS.class];
  if (name !== undefined) {
    const chosen = classes.find(({ metadata }) => metadata.name === name);
    return chosen === undefined ? { is: 'missing', name } : belongs(chosen);
  }
  if (classes.length === 0) return { is: 'ours' };
  const sorted = classes.toSorted((a, b) => compare(a.metadata.name ?? '', b.metadata.name ?? ''));
  const chosen =
    sorted.find(({ spec }) => spec.selector !== undefined && matches(spec.selector, claim.labels ?? {})) ??
    sorted.find(({ spec }) => spec.default);
  if (chosen === undefined) return { is: 'others', because: 'no DataMoverClass asks for the claim' };
  return belongs(chosen);
}

function belongs(chosen: DataMoverClass): MoverChoice {
  const { metadata, spec } = chosen;
  if (spec.mover === MOVER) return { is: 'ours', of: chosen };
  return {
    is: 'others',
    because: `DataMoverClass ${metadata.name ?? ''} gives it to the mover ${spec.mover}`,
  };
}

/** As Kubernetes reads a LabelSelector: all requirements hold; an empty one matches everything. */
export function matches({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      switch (operator) {
        case 'In':
          return value !== undefined && values.includes(value);
        case 'NotIn':
          return value === undefined || !values.includes(value);
        case 'Exists':
          return value !== undefined;
        case 'DoesNotExist':
          return value === undefined;
      }
    })
  );
}

/** By code units: the same on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
