/**
 * In the place of the `datamover` command as the child of a transfer: it notes its beginning and its end beside the repository, waits
 * a little, and while there is a file REPOSITORY.hold, and prints what the command prints. A double, for where hundreds of transfers are to be looked at and no byte of them.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** How long each "transfer" takes. */
const TAKES_MS = 150;

const tag = process.argv[process.argv.indexOf('--once') + 1] ?? '';
const repository = process.env['RESTIC_REPOSITORY'] ?? '';
const note = (what: 'begins' | 'ends'): void => appendFileSync(`${repository}.children`, `${tag} ${what}\n`);

note('begins');
await delay(TAKES_MS);
while (existsSync(`${repository}.hold`)) await delay(50);
note('ends');
const summary = {
  ...{
    message_type: 'summary',
    snapshot_id: createHash('sha256').update(tag).digest('hex'),
    format: 'image',
  },
  ...{ total_bytes_processed: 1 << 20, bytes_read: 1 << 20, data_added_packed: 0 },
};
console.log(JSON.stringify(summary));
