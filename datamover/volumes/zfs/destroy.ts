import { setTimeout as delay } from 'node:timers/promises';
import { describeCause } from '../../errors.ts';
import { runZfs } from './command.ts';

/** udev looks into every new device for a moment, and a device that is open cannot be destroyed. */
const PATIENCE_MS = 30_000;
const POLL_MS = 100;

/** Destroys a dataset that we made. */
export async function destroyZfs(dataset: string): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; ;) {
    try {
      await runZfs({ operation: 'destroy ZFS volume', subject: dataset, args: ['destroy', dataset] });
      return;
    } catch (error) {
      const said = describeCause(error);
      if (said.includes('does not exist')) return;
      if (!said.includes('busy') || Date.now() > deadline) throw error;
      await delay(POLL_MS);
    }
  }
}
