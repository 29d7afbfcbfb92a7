import type { Kind, ObjectOfKind } from '../../api/schema/kind.ts';
import type { KubernetesObject } from './object.ts';

/** Where the API serves a kind. `T` is the type of its objects. */
export interface Resource<T extends KubernetesObject = KubernetesObject> {
  /** `''` for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** In lower case, as in the address. */
  readonly plural: string;
  readonly namespaced: boolean;
  /** Never there: ties the type to the value. */
  readonly objects?: T;
}

/** Describes a kind: `defineResource<VolumeSnapshotBackup>({ group: …, … })`. */
export function defineResource<T extends KubernetesObject>(where: Omit<Resource, 'objects'>): Resource<T> {
  return where;
}

/** Where the API serves a kind of `api/`: `client.of(resourceOf(volumeSnapshotBackup))`. */
export function resourceOf<K extends Kind<unknown, unknown>>(kind: K): Resource<ObjectOfKind<K>> {
  const { group, version, plural, scope } = kind;
  return { group, version, kind: kind.kind, plural, namespaced: scope === 'Namespaced' };
}

/** `apiVersion` of this kind's objects. */
export function apiVersionOf({ group, version }: Pick<Resource, 'group' | 'version'>): string {
  return group === '' ? version : `${group}/${version}`;
}

export interface Place {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

/** The address of a collection, an object or its subresource. */
export function pathOf(resource: Resource, { namespace, name, subresource }: Place): string {
  const root = resource.group === '' ? 'api' : `apis/${resource.group}`;
  const inNamespace = resource.namespaced && namespace !== undefined ? ['namespaces', namespace] : [];
  const parts = [...inNamespace, resource.plural, name, subresource].filter((part) => part !== undefined);
  return `/${root}/${resource.version}/${parts.map(encodeURIComponent).join('/')}`;
}
