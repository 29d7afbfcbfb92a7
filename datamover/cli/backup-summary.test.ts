import { expect, test } from '@jest/globals';
import type { BackupSummary } from '../transfer/backup.ts';
import type { ReadReport } from '../transfer/driver-backup.ts';
import { printBackup } from './backup-summary.ts';
import { Output } from './output.ts';

/** The summary line of a backup whose driver reports this. */
function summaryOf(read: ReadReport | undefined): Record<string, unknown> {
  const summary: BackupSummary = {
    ...{ snapshotId: 'a'.repeat(64), parent: undefined, volume: { namespace: 'shop', name: 'db' } },
    ...{ format: 'stream', totalBytes: 9, readBytes: 8, newBytes: 7, deduplicatedBytes: 1, zeroBytes: 0 },
    ...{ storedBytes: 6, metadataBytes: 2, packs: 1, warnings: [], seconds: 3 },
    ...(read && { read }),
  };
  let written = '';
  const results = { write: (text: string) => (written += text) };
  const output = new Output({ json: true, verbosity: 1 }, results, results);
  printBackup(output, summary, { volume: 'shop/db', dryRun: false, stats: false });
  return JSON.parse(written) as Record<string, unknown>;
}

test('bytes_estimated is what the storage expected to send, and absent where it did not say', () => {
  const changes = { mechanism: 'zfs-send-increment' } as const;
  const expected = { message_type: 'summary', total_bytes_processed: 9, bytes_read: 8 };
  expect(summaryOf({ changes, estimateBytes: 12 })).toMatchObject({
    ...expected,
    changes,
    bytes_estimated: 12,
  });
  expect(summaryOf({ changes, estimateBytes: 0 })).toMatchObject({ bytes_estimated: 0 });
  for (const read of [{ changes }, undefined]) {
    const record = summaryOf(read);
    expect(record).toMatchObject(expected);
    expect(record).not.toHaveProperty('bytes_estimated');
  }
});
