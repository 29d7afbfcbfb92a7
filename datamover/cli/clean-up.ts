import { describeCause } from '../errors.ts';
import type { OpenedDriver } from '../volumes/open-driver.ts';
import type { Output } from './output.ts';

/** Before a backup: what an earlier one of this volume left when it was killed. That it cannot be done stops nothing. */
export async function cleanUpFirst(
  output: Output,
  { driver, location }: OpenedDriver,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (const line of await driver.cleanUp(location, signal)) output.note(line);
  } catch (error) {
    signal.throwIfAborted();
    output.note(`nothing was cleaned up: ${describeCause(error)}`);
  }
}
