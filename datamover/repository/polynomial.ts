import { randomBytes } from 'node:crypto';

/**
 * Polynomials over GF(2) as bit strings: bit i is the coefficient of x^i. The chunker of restic wants an irreducible one of
 * degree 53, drawn at random for each repository so that chunk lengths tell nothing about known files.
 */
export type Polynomial = bigint;

export const CHUNKER_DEGREE = 53;

/** Degree of a polynomial; -1 for zero. */
export function degree(p: Polynomial): number {
  return p === 0n ? -1 : p.toString(2).length - 1;
}

/** Remainder of a division. */
export function modulo(a: Polynomial, p: Polynomial): Polynomial {
  const high = degree(p);
  if (high < 0) throw new RangeError('division by the zero polynomial');
  let rest = a;
  for (let d = degree(rest); d >= high; d = degree(rest)) rest ^= p << BigInt(d - high);
  return rest;
}

export function multiplyModulo(a: Polynomial, b: Polynomial, p: Polynomial): Polynomial {
  let product = 0n;
  let factor = modulo(a, p);
  for (let rest = b; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) product ^= factor;
    factor = modulo(factor << 1n, p);
  }
  return modulo(product, p);
}

function greatestCommonDivisor(a: Polynomial, b: Polynomial): Polynomial {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, modulo(x, y)];
  return x;
}

/**
 * Ben-Or's test: p of degree n is irreducible exactly when x^(2^i) - x shares no factor with it for i = 1 ... n/2
 * (M. Ben-Or, "Probabilistic algorithms in finite fields", 1981).
 */
export function isIrreducible(p: Polynomial): boolean {
  const n = degree(p);
  if (n < 1) return false;
  const x = 2n;
  let power = modulo(x, p);
  for (let i = 1; i <= Math.floor(n / 2); i++) {
    power = multiplyModulo(power, power, p);
    if (greatestCommonDivisor(p, power ^ x) !== 1n) return false;
  }
  return true;
}

/** A random irreducible polynomial of degree 53. About one in 53 candidates fits, one in 27 of the odd ones. */
export function randomPolynomial(): Polynomial {
  for (;;) {
    const bits = BigInt(`0x${randomBytes(7).toString('hex')}`) & ((1n << BigInt(CHUNKER_DEGREE)) - 1n);
    const candidate = bits | (1n << BigInt(CHUNKER_DEGREE)) | 1n;
    if (isIrreducible(candidate)) return candidate;
  }
}

/** The spelling of the config file: lower-case hex without leading zeros. */
export function formatPolynomial(p: Polynomial): string {
  return p.toString(16);
}

/** Parses the config file's spelling; `undefined` for anything that no chunker may use. */
export function parsePolynomial(text: string): Polynomial | undefined {
  if (!/^[0-9a-f]{1,16}$/.test(text)) return undefined;
  const p = BigInt(`0x${text}`);
  return degree(p) === CHUNKER_DEGREE && isIrreducible(p) ? p : undefined;
}
