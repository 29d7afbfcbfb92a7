import { DatamoverError } from '../errors.ts';
import type { TargetWishes } from './driver.ts';

/** How each wish is spelled on the command line. */
const OPTIONS: Readonly<Record<keyof TargetWishes, string>> = {
  thick: '--thick or --thin',
  volblocksize: '--volblocksize',
  properties: '--property',
  objectBytes: '--object-size',
  dataPool: '--data-pool',
  features: '--features',
};

/** @throws DatamoverError (usage) that names a wish which `storage` ("a file") has no use for. */
export function checkWishes(
  location: string,
  wishes: TargetWishes | undefined,
  known: readonly (keyof TargetWishes)[],
  storage: string,
): void {
  const named = Object.entries(OPTIONS) as [keyof TargetWishes, string][];
  const strange = named.find(([wish]) => wishes?.[wish] !== undefined && !known.includes(wish));
  if (strange === undefined) return;
  throw new DatamoverError({
    operation: 'restore to',
    subject: location,
    cause: `${strange[1]} means nothing to ${storage}`,
    kind: 'usage',
  });
}
