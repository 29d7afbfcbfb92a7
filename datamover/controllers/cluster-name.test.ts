import { describe, expect, it } from '@jest/globals';
import { ApiError, type ApiErrorReason } from '../kubernetes/api-error.ts';
import { ClusterName } from './cluster-name.ts';

function logDouble() {
  const lines: string[] = [];
  const say = (_fields: object, message: string): void => void lines.push(message);
  return { lines, log: { debug: say, info: say, warn: say, error: say } };
}

/** The API that refuses, as far as names are made of its answers: a double. */
const refusing = (reason: ApiErrorReason) => (): Promise<string> =>
  Promise.reject(
    new ApiError({ operation: 'get', subject: 'Namespace kube-system', cause: 'it is refused', reason }),
  );

describe('the name of a cluster', () => {
  it('is the given one, else one of the UID of kube-system', async () => {
    const { log, lines } = logDouble();
    const uidOf = (namespace: string): Promise<string> => Promise.resolve(`0123456789-${namespace}`);
    expect(await new ClusterName(uidOf, log, 'north').get()).toBe('north');
    expect(await new ClusterName(uidOf, log, undefined).get()).toBe('kubernetes-01234567');
    expect(lines).toEqual([]);
  });

  it.each(['missing', 'forbidden'] as const)(
    'is kubernetes when it is %s, with one warning',
    async (reason) => {
      const { log, lines } = logDouble();
      const name = new ClusterName(refusing(reason), log, undefined);
      expect([await name.get(), await name.get()]).toEqual(['kubernetes', 'kubernetes']);
      expect(lines).toEqual([
        "name this cluster: get Namespace kube-system: it is refused: its snapshots are of the host kubernetes, as are those of any other such cluster that shares the repository (let the controller's role get the namespace kube-system, or give --cluster-name)",
      ]);
    },
  );

  it('is asked for again when the API did not answer', async () => {
    const { log, lines } = logDouble();
    await expect(new ClusterName(refusing('unreachable'), log, undefined).get()).rejects.toThrow(
      'it is refused',
    );
    expect(lines).toEqual([]);
  });
});
