/** What every object of the Kubernetes API carries; the kinds of `api/` and of others fit in here by their shape. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/**
 * The part of ObjectMeta that is read here (k8s.io/apimachinery meta/v1). The server sets uid, resourceVersion, generation and the
 * timestamps (RFC 3339).
 */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** Opaque: equal or not equal, nothing else. */
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string;
  /** Deletion was asked for; the object goes when the last finalizer is gone. */
  readonly deletionTimestamp?: string;
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

/** An object as the server gives it: it has been stored, so it has these. */
export type Stored<T extends KubernetesObject> = T & {
  readonly metadata: { readonly uid: string; readonly resourceVersion: string };
};

/** `namespace/name`, or the name alone of what belongs to no namespace: the key of caches and work queues. */
export function keyOf(object: { readonly metadata: Pick<ObjectMeta, 'name' | 'namespace'> }): string {
  const { name, namespace } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The parts of a key of `keyOf`. Neither names nor namespaces hold a slash. */
export function splitKey(key: string): { readonly namespace?: string; readonly name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
