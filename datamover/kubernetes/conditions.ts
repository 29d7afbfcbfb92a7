/** meta/v1 Condition. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** A CamelCase word for programs. */
  readonly reason: string;
  /** The sentence for people. */
  readonly message: string;
  /** When `status` last changed, RFC 3339. */
  readonly lastTransitionTime: string;
  /** The generation of the spec that this was said of. */
  readonly observedGeneration?: number;
}

/** The API refuses longer ones. */
const LONGEST_MESSAGE = 32_768;

/**
 * The conditions with this one among them. The transition time moves only with the status, and when nothing is different the very
 * same array comes back, so that `===` tells whether there is anything to write.
 */
export function withCondition(
  conditions: readonly Condition[] | undefined,
  condition: Omit<Condition, 'lastTransitionTime'>,
  now: Date = new Date(),
): readonly Condition[] {
  const known = conditions ?? [];
  const message = condition.message.slice(0, LONGEST_MESSAGE);
  const previous = known.find(({ type }) => type === condition.type);
  const kept = previous?.status === condition.status ? previous.lastTransitionTime : undefined;
  const next = {
    ...condition,
    message,
    lastTransitionTime: kept ?? now.toISOString().replace(/\.\d+Z$/, 'Z'),
  };
  if (previous === undefined) return [...known, next];
  if (isSame(previous, next)) return known;
  return known.map((other) => (other === previous ? next : other));
}

export function findCondition(
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isConditionTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}

function isSame(one: Condition, other: Condition): boolean {
  return (
    one.status === other.status &&
    one.reason === other.reason &&
    one.message === other.message &&
    one.observedGeneration === other.observedGeneration
  );
}
