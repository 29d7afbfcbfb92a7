import { status, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import type { ActionContext } from '../contract.ts';

/** What is the same for all calls of a process. */
export type Site = Omit<ActionContext, 'signal'>;

interface Named {
  readonly name: string;
  readonly timeLimit?: number;
}

const TIME_LIMIT_MS = 10 * 60_000;

/** One service serves all plugins of its kind: each request says which it means. */
export function dispatcher<A extends Named>(actions: readonly A[], kind: string): (name: string) => A {
  const byName = new Map(actions.map((action) => [action.name, action]));
  return (name) => {
    const action = byName.get(name);
    if (action === undefined) throw new Error(`there is no ${kind} named "${name}" in this plugin`);
    return action;
  };
}

/** A handler for calls with one request and one answer: finds the action, limits the time, turns errors into one sentence. */
export function unary<A extends Named, Request extends { plugin: string }, Response>(
  find: (name: string) => A,
  site: Site,
  answer: (action: A, request: Request, context: ActionContext) => Promise<Response>,
) {
  return (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>): void => {
    const hungUp = new AbortController();
    call.on('cancelled', () => hungUp.abort(new Error('Velero hung up')));
    const run = async (): Promise<Response> => {
      const action = find(call.request.plugin);
      const limit = action.timeLimit ?? TIME_LIMIT_MS;
      const signal = AbortSignal.any([hungUp.signal, AbortSignal.timeout(limit)]);
      const log = site.log.with({ action: action.name });
      return Promise.race([
        answer(action, call.request, { ...site, log, signal }),
        giveUp(signal, action, limit),
      ]);
    };
    run().then(
      (response) => reply(null, response),
      (error: unknown) => reply(failure(error)),
    );
  };
}

function giveUp(signal: AbortSignal, action: Named, limit: number): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener(
      'abort',
      () => {
        const reason: unknown = signal.reason;
        const late = reason instanceof Error && reason.name === 'TimeoutError';
        reject(
          new Error(late ? `${action.name} took longer than ${limit / 1000} seconds` : sentence(reason)),
        );
      },
      { once: true },
    );
  });
}

/** Velero shows the details as they are; it tells codes apart nowhere. */
export function failure(error: unknown): { code: status; details: string } {
  return { code: status.UNKNOWN, details: sentence(error) };
}

/** The text of anything that was thrown, in one line. */
export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
