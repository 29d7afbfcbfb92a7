import { isApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { NAMESPACES } from '../kubernetes/core-resources.ts';

/** The namespace that every cluster has, and whose UID no two share. */
const EVERYWHERE = 'kube-system';
/** Where the UID may not be read. */
const NAMELESS = 'kubernetes';

/**
 * What the snapshots of this cluster have as their host, so that two clusters may share a repository: a volume's history is that of
 * its host. The name that was given (--cluster-name), else one made of the UID of kube-system; asked for once.
 */
export class ClusterName {
  readonly #client: Client;
  #known: string | undefined;

  constructor(client: Client, given: string | undefined) {
    this.#client = client;
    this.#known = given;
  }

  async get(): Promise<string> {
    this.#known ??= await this.#look();
    return this.#known;
  }

  async #look(): Promise<string> {
    try {
      const { metadata } = await this.#client.of(NAMESPACES).get(undefined, EVERYWHERE);
      return `kubernetes-${metadata.uid.slice(0, 8)}`;
    } catch (error) {
      if (isApiError(error, 'missing', 'forbidden')) return NAMELESS;
      throw error;
    }
  }
}
