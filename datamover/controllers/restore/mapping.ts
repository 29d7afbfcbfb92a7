import { CONFIG_MAPS, configMapValues } from '../../kubernetes/core-resources.ts';
import { orMissing } from '../../kubernetes/api-error.ts';
import type { Site } from '../resolve/storage.ts';

/** What is called otherwise here than where the backup was made: `storageclass.OLD: NEW`, `node.OLD: NEW`. */
export class Mapping {
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  storageClass(old: string): string {
    return this.#values.get(`storageclass.${old}`)?.trim() ?? old;
  }

  node(old: string): string {
    return this.#values.get(`node.${old}`)?.trim() ?? old;
  }
}

/** The ConfigMap of --mapping; nothing is mapped where there is none. */
export async function readMapping({ client, settings }: Site): Promise<Mapping> {
  if (settings.mapping === undefined) return new Mapping(new Map());
  const found = await orMissing(client.of(CONFIG_MAPS).get(settings.namespace, settings.mapping));
  return new Mapping(found === undefined ? new Map() : configMapValues(found));
}
