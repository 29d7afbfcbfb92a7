import { createRequire } from 'node:module';
import type koffi from 'koffi';

let loaded: typeof koffi | undefined;

/**
 * What calls functions of the C library and of others that are there. Its own native part takes 9 ms to load, so nobody loads it
 * before it is used: a command begins to derive its key first.
 */
export function native(): typeof koffi {
  return (loaded ??= createRequire(import.meta.url)('koffi') as typeof koffi);
}
