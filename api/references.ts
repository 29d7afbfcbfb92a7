import {
  count,
  enumOf,
  list,
  listBy,
  map,
  object,
  optional,
  string,
  timestamp,
  type StringLimits,
} from './schema/schema.ts';

/** Names of objects: DNS-1123 subdomains. */
export const NAME: StringLimits = {
  pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
  maxLength: 253,
};

/** Names of namespaces: DNS-1123 labels. */
export const NAMESPACE_NAME: StringLimits = { pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', maxLength: 63 };

/** Ids of restic's files, or beginnings of them that are unlikely to be shared. */
export const SNAPSHOT_ID: StringLimits = { pattern: '^[0-9a-f]{8,64}$', maxLength: 64 };

/** A resource.Quantity as text: `10Gi`. */
export const QUANTITY: StringLimits = {
  pattern: '^[0-9]+(\\.[0-9]+)?(m|k|Ki|[MGTPE]i?|[eE][0-9]+)?$',
  maxLength: 40,
};

/** As Go prints and reads durations: `1h30m`. */
export const DURATION: StringLimits = { pattern: '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$', maxLength: 40 };

/** core/v1 LocalObjectReference. */
export function nameReference(description: string) {
  return object(description, { name: string('Its name.', NAME) });
}

/** metav1.Condition: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md */
export const condition = object('One aspect of the state.', {
  type: string('Which aspect.', {
    pattern:
      '^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$',
    maxLength: 316,
  }),
  status: enumOf('Whether it holds.', ['True', 'False', 'Unknown']),
  reason: string('One word for programs.', {
    pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
    minLength: 1,
    maxLength: 1024,
  }),
  message: string('A sentence for people.', { maxLength: 32768 }),
  lastTransitionTime: timestamp('When the status last changed.'),
  observedGeneration: optional(count('The generation that this was said of.')),
});

/** metav1.LabelSelector. */
export const labelSelector = object('All of it must hold.', {
  matchLabels: optional(map('Labels with their values.', string('The value.', { maxLength: 63 }))),
  matchExpressions: optional(
    list(
      'Conditions on labels.',
      object('One condition.', {
        key: string('The label.', { maxLength: 317 }),
        operator: enumOf('What must hold of it.', ['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: optional(list('For In and NotIn.', string('One value.', { maxLength: 63 }), 64)),
      }),
      32,
    ),
  ),
});

export const conditions = optional(
  listBy('type', 'Aspects of the state, each with its reason.', condition, 16),
);
