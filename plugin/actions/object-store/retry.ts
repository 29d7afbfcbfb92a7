import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../../goplugin/log.ts';
import { sentence } from '../wire/call.ts';

const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 200;

/** Failures that another attempt may not meet: of the connection, and those by which S3 asks for it. */
const PASSING =
  /ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT|EAI_AGAIN|socket hang up|said nothing|SlowDown|InternalError|RequestTimeout|ServiceUnavailable|Retryable HTTP status|retries exhausted/i;

/** Calls again, with pauses, what failed for a passing reason; the last error is the caller's. */
export async function withRetries<T>(what: string, log: Log, attempt: () => Promise<T>): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt();
    } catch (error) {
      const reason = `${errorCode(error)} ${sentence(error)}`;
      if (number >= ATTEMPTS || !PASSING.test(reason)) throw error;
      const pause = FIRST_PAUSE_MS * 4 ** (number - 1);
      log.info(`${what}: ${sentence(error)}; trying again in ${pause} ms`);
      await delay(pause);
    }
  }
}

/** S3's or the system's name for a failure, such as `NoSuchKey`. */
export function errorCode(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : '';
}
