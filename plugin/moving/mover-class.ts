import type { DataMoverClass } from '../../api/data-mover-class.ts';
import { ANNOTATIONS } from '../../api/names.ts';
import type { ObjectMeta } from '../../api/schema/kind.ts';

type Selector = NonNullable<DataMoverClass['spec']['selector']>;
type Expression = NonNullable<Selector['matchExpressions']>[number];

export type ClassChoice =
  | { readonly choice: 'class'; readonly of: DataMoverClass }
  /** There are no classes: every claim is ours. */
  | { readonly choice: 'everything' }
  /** There are classes, and none of them takes this claim. */
  | { readonly choice: 'nothing' }
  /** The claim names one that does not exist. */
  | { readonly choice: 'missing'; readonly name: string };

/**
 * The class of a claim: the one that its annotation names, else the first by name whose selector matches its labels, else the
 * first by name that is a default (docs/kubernetes.md, "Which claims are moved").
 */
export function chooseClass(classes: readonly DataMoverClass[], claim: ObjectMeta): ClassChoice {
  const byName = classes.toSorted((a, b) => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1));
  const named = claim.annotations?.[ANNOTATIONS.class];
  if (named !== undefined) {
    const found = byName.find(({ metadata }) => metadata.name === named);
    return found === undefined ? { choice: 'missing', name: named } : { choice: 'class', of: found };
  }
  if (byName.length === 0) return { choice: 'everything' };
  const labels = claim.labels ?? {};
  const found =
    byName.find(({ spec }) => spec.selector !== undefined && matches(spec.selector, labels)) ??
    byName.find(({ spec }) => spec.default);
  return found === undefined ? { choice: 'nothing' } : { choice: 'class', of: found };
}

function matches(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(selector.matchLabels ?? {});
  return (
    wanted.every(([key, value]) => labels[key] === value) &&
    (selector.matchExpressions ?? []).every((expression) => holds(expression, labels))
  );
}

function holds(
  { key, operator, values = [] }: Expression,
  labels: Readonly<Record<string, string>>,
): boolean {
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
}
