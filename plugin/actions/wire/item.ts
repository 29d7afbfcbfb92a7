import type { KubernetesItem, ResourceIdentifier, VeleroBackup, VeleroRestore } from '../contract.ts';

type JsonObject = Record<string, unknown>;

/** An object as Velero sends it. Throws when it is no Kubernetes object. */
export function readItem(bytes: Buffer, what: string): KubernetesItem {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new Error(`the ${what} that Velero sent is not JSON: ${String(error)}`, { cause: error });
  }
  if (!isItem(value)) throw new Error(`the ${what} that Velero sent is no Kubernetes object with a name`);
  return value;
}

function isItem(value: unknown): value is KubernetesItem {
  if (!isObject(value) || !isObject(value['metadata'])) return false;
  return (
    typeof value['apiVersion'] === 'string' &&
    typeof value['kind'] === 'string' &&
    typeof value['metadata']['name'] === 'string'
  );
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Backup and restore come without apiVersion and kind, for Go's client leaves those of known types empty. */
export function readBackup(bytes: Buffer): VeleroBackup {
  return { ...readOwner(bytes, 'Backup') };
}

export function readRestore(bytes: Buffer): VeleroRestore {
  return { ...readOwner(bytes, 'Restore') };
}

function readOwner(bytes: Buffer, kind: string): VeleroBackup {
  const value: unknown = JSON.parse(bytes.toString('utf8'));
  const item: unknown = isObject(value) ? { spec: {}, ...value, apiVersion: 'velero.io/v1', kind } : value;
  if (!isItem(item)) throw new Error(`the ${kind} that Velero sent has no name`);
  return {
    ...item,
    spec: isObject(item['spec']) ? item['spec'] : {},
    status: isObject(item['status']) ? item['status'] : {},
  };
}

/** Velero wants the item back whole, also when nothing has changed: then the very bytes that it sent. */
export function writeItem(item: KubernetesItem | undefined, sent: Buffer): Buffer {
  return item === undefined ? sent : Buffer.from(JSON.stringify(item));
}

export function writeIdentifiers(
  identifiers: readonly ResourceIdentifier[] = [],
): Required<ResourceIdentifier>[] {
  return identifiers.map(({ group, resource, namespace = '', name }) => ({
    group,
    resource,
    namespace,
    name,
  }));
}
