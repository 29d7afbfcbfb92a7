import { DatamoverError } from '../errors.ts';

const FACTORS: Readonly<Record<string, number>> = {
  ...{ m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/**
 * Bytes of a resource.Quantity: `10Gi`, `1.5G`, `1e9`, rounded up as Kubernetes rounds.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */
export function parseQuantity(text: string): number {
  const [, digits = '', unit = '', exponent = '0'] =
    /^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([mkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?$/.exec(text) ?? [];
  const bytes = Math.ceil(Number(digits) * (FACTORS[unit] ?? NaN) * 10 ** Number(exponent));
  if (digits === '' || !Number.isSafeInteger(bytes)) {
    throw new DatamoverError({
      operation: 'read quantity',
      subject: JSON.stringify(text.slice(0, 100)),
      cause: 'it is no number of bytes such as 10Gi',
      kind: 'usage',
    });
  }
  return bytes;
}
