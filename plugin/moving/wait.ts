import { setTimeout as delay } from 'node:timers/promises';
import { isApiError } from '../kubernetes/api-error.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import type { Resource } from '../kubernetes/resources.ts';
import { failureOf, finalPhaseOf, operationIdOf, type Transfer } from './progress.ts';

const POLL_MS = 2_000;

/**
 * Stands still until a transfer has ended, as actions of version 1 must; throws its own sentence when it came to nothing. One that takes
 * longer than `timeoutMs` is canceled. An API server that is away is waited for too.
 */
export async function waitForEnd<T extends Transfer>(
  client: KubernetesClient,
  resource: Resource<T>,
  started: T,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const { namespace = '', name = '' } = started.metadata;
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await client.get(resource, namespace, name).catch((error: unknown) => {
      if (!isApiError(error, 'unreachable', 'unavailable')) throw error;
      return started;
    });
    if (found === undefined) throw new Error(`${started.kind} ${operationIdOf(started)} is gone`);
    const phase = finalPhaseOf(found);
    if (phase === 'Completed') return;
    if (phase !== undefined) throw new Error(failureOf(found, phase));
    if (Date.now() >= deadline) {
      await client.merge(resource, namespace, name, { spec: { cancel: true } });
      throw new Error(
        `wait for ${started.kind} ${operationIdOf(started)}: it took longer than ${timeoutMs / 1000} seconds, and is canceled; a larger timeout can be set in the plugin's ConfigMap`,
      );
    }
    await delay(Math.min(POLL_MS, Math.max(deadline - Date.now(), 1)), undefined, { signal });
  }
}
