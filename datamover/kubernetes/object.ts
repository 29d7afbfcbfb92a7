import type { ObjectMeta } from '../../api/schema/kind.ts';

export type { ObjectMeta, OwnerReference } from '../../api/schema/kind.ts';

/** What every object of the Kubernetes API carries; the kinds of `api/` and of others fit in here by their shape. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** An object as the server gives it: it has been stored, so it has a name and these. */
export type Stored<T extends KubernetesObject> = T & {
  readonly metadata: { readonly name: string; readonly uid: string; readonly resourceVersion: string };
};

/** An object to be stored; the client adds what kind it is. */
export type Draft<T extends KubernetesObject> = Omit<T, 'apiVersion' | 'kind'>;

/** `namespace/name`, or the name alone of what belongs to no namespace: the key of caches and work queues. */
export function keyOf(object: {
  readonly metadata: { readonly name: string; readonly namespace?: string };
}): string {
  const { name, namespace } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The parts of a key of `keyOf`. Neither names nor namespaces hold a slash. */
export function splitKey(key: string): { readonly namespace?: string; readonly name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
