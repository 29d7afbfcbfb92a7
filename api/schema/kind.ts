import type { OpenApi, Rule, Schema, TypeOf } from './schema.ts';

/** What a CustomResourceDefinition says of a kind. */
export interface Kind<Spec, Status> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly spec: Schema<Spec>;
  /** Absent where nobody reports anything. */
  readonly status?: Schema<Status>;
  readonly columns: readonly Column[];
  /** Fields by which the API server itself selects (`fieldSelector`), as JSON paths: `.status.node`. Kubernetes 1.32 and later. */
  readonly selectable?: readonly string[];
  /** On the whole object: only its name can be read there, beside spec and status. */
  readonly rules?: readonly Rule[];
}

/** A column of `kubectl get`. */
export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean' | 'date';
  readonly jsonPath: string;
  /** 0 is always shown; 1 with `-o wide`. */
  readonly priority: 0 | 1;
  readonly description?: string;
}

/** `metadata`, as far as anything here reads it. */
export interface ObjectMeta {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** An object of any kind. */
export interface KubernetesObject<Spec = unknown, Status = unknown> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec: Spec;
  readonly status?: Status;
}

/** The object that a kind describes: `type Backup = ObjectOfKind<typeof backup>`. */
export type ObjectOfKind<K extends Kind<unknown, unknown>> = KubernetesObject<
  TypeOf<K['spec']>,
  K extends Kind<unknown, infer Status> ? Status : never
>;

export function kind<Spec, Status = never>(description: Kind<Spec, Status>): Kind<Spec, Status> {
  return description;
}

/** A column of text that is always shown. */
export function column(name: string, jsonPath: string, options: Partial<Column> = {}): Column {
  return { name, jsonPath, type: 'string', priority: 0, ...options };
}

/** A column for `kubectl get -o wide`. */
export function wide(name: string, jsonPath: string, options: Partial<Column> = {}): Column {
  return column(name, jsonPath, { priority: 1, ...options });
}

export const AGE = column('Age', '.metadata.creationTimestamp', { type: 'date' });

/** The CustomResourceDefinition, ready to be printed as YAML. */
export function customResourceDefinition(of: Kind<unknown, unknown>): Readonly<Record<string, unknown>> {
  const singular = of.kind.toLowerCase();
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${of.plural}.${of.group}` },
    spec: {
      group: of.group,
      scope: of.scope,
      names: {
        kind: of.kind,
        listKind: `${of.kind}List`,
        plural: of.plural,
        singular,
        shortNames: of.shortNames,
        categories: ['datamover'],
      },
      versions: [
        {
          name: of.version,
          served: true,
          storage: true,
          ...(of.status === undefined ? {} : { subresources: { status: {} } }),
          ...(of.selectable === undefined
            ? {}
            : { selectableFields: of.selectable.map((jsonPath) => ({ jsonPath })) }),
          additionalPrinterColumns: of.columns.map(({ priority, ...rest }) =>
            priority === 0 ? rest : { ...rest, priority },
          ),
          schema: { openAPIV3Schema: rootSchema(of) },
        },
      ],
    },
  };
}

function rootSchema(of: Kind<unknown, unknown>): OpenApi {
  const text = (description: string): OpenApi => ({ type: 'string', description });
  return {
    type: 'object',
    description: of.description,
    required: ['spec'],
    properties: {
      apiVersion: text('Version of the schema of this object.'),
      kind: text('Kind of this object.'),
      // The API server describes it itself, and refuses who tries.
      metadata: { type: 'object' },
      spec: of.spec.openapi,
      ...(of.status === undefined ? {} : { status: of.status.openapi }),
    },
    ...(of.rules === undefined ? {} : { 'x-kubernetes-validations': of.rules }),
  };
}
