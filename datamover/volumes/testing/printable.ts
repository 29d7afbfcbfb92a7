import { isDeepStrictEqual } from 'node:util';

/** Gives the value back if it can be written as JSON and read again without loss; undefined fields are none. */
export function printable<T>(value: T): T {
  const text = JSON.stringify(value);
  const again = JSON.parse(text) as T;
  if (!isDeepStrictEqual(again, withoutUndefined(value))) throw new Error(`it is not printable: ${text}`);
  return value;
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(entries.map(([name, field]) => [name, withoutUndefined(field)]));
}

export function sorted(lines: readonly string[]): string[] {
  return [...lines].sort();
}
