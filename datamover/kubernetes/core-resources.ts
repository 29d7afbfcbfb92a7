import type { KubernetesObject } from './object.ts';
import { defineResource } from './resource.ts';

/** The kinds of Kubernetes itself that need no rules of their own; only the fields that somebody reads. */

export interface Secret extends KubernetesObject {
  readonly type?: string;
  /** Values in base64. */
  readonly data?: Readonly<Record<string, string>>;
  /** For writing alone: the server keeps it as `data`. */
  readonly stringData?: Readonly<Record<string, string>>;
}

export interface ConfigMap extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
  /** Values in base64. */
  readonly binaryData?: Readonly<Record<string, string>>;
}

export const SECRETS = defineResource<Secret>({
  ...{ group: '', version: 'v1', kind: 'Secret', plural: 'secrets', namespaced: true },
});

export const CONFIG_MAPS = defineResource<ConfigMap>({
  ...{ group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true },
});

export const NAMESPACES = defineResource<KubernetesObject>({
  ...{ group: '', version: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false },
});

/** A Secret's values as bytes, by key. */
export function secretValues(secret: Secret): ReadonlyMap<string, Buffer> {
  const entries = Object.entries(secret.data ?? {});
  return new Map(entries.map(([key, value]) => [key, Buffer.from(value, 'base64')]));
}

/** A ConfigMap's values as text, by key. */
export function configMapValues(configMap: ConfigMap): ReadonlyMap<string, string> {
  const binary = Object.entries(configMap.binaryData ?? {}).map(([key, value]): [string, string] => [
    key,
    Buffer.from(value, 'base64').toString('utf8'),
  ]);
  return new Map([...binary, ...Object.entries(configMap.data ?? {})]);
}
