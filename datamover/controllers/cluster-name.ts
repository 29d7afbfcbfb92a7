import { describeCause } from '../errors.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { NAMESPACES } from '../kubernetes/core-resources.ts';
import type { Log } from './log.ts';

/** The namespace that every cluster has, and whose UID no two share. */
const EVERYWHERE = 'kube-system';
/** Where the UID may not be read. */
const NAMELESS = 'kubernetes';

/**
 * What the snapshots of this cluster have as their host, so that two clusters may share a repository: a volume's history is that of
 * its host. The name that was given (--cluster-name), else one made of the UID of kube-system; asked for once.
 */
export class ClusterName {
  readonly #uidOf: (namespace: string) => Promise<string>;
  readonly #log: Log;
  #known: string | undefined;

  constructor(uidOf: (namespace: string) => Promise<string>, log: Log, given: string | undefined) {
    this.#uidOf = uidOf;
    this.#log = log;
    this.#known = given;
  }

  async get(): Promise<string> {
    this.#known ??= await this.#look();
    return this.#known;
  }

  async #look(): Promise<string> {
    try {
      return `kubernetes-${(await this.#uidOf(EVERYWHERE)).slice(0, 8)}`;
    } catch (error) {
      if (!isApiError(error, 'missing', 'forbidden')) throw error;
      this.#log.warn(
        { clusterName: NAMELESS },
        `name this cluster: ${describeCause(error)}: its snapshots are of the host ${NAMELESS}, as are those of any other such cluster that shares the repository (let the controller's role get the namespace ${EVERYWHERE}, or give --cluster-name)`,
      );
      return NAMELESS;
    }
  }
}

/** Reads it from the API. */
export function namespaceUid(client: Client): (namespace: string) => Promise<string> {
  return async (namespace) => (await client.of(NAMESPACES).get(undefined, namespace)).metadata.uid;
}
