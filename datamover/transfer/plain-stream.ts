import { createHash } from 'node:crypto';
import type { BackupSession } from '../repository/backup-session.ts';
import type { Repository } from '../repository/repository.ts';
import { saveStream, type StreamInput } from '../repository/saver/saver.ts';
import { encodeFileTree, encodeTree, folderNode } from '../repository/tree.ts';
import type { BackupPlan } from './backup-plan.ts';
import { ContentList } from './content-list.ts';
import { saveFingerprints } from './fingerprints.ts';
import { knownStream } from './known-stream.ts';
import { STREAM_FILE, streamFolder, STREAMS_FOLDER } from './layout.ts';
import type { TransferOptions } from './progress.ts';
import type { SavedContent } from './volume-content.ts';
import { SavedBlobs, saveOptions, watch } from './watched-save.ts';

/** Stores bytes that nobody looks into, cut by their content. */
export async function savePlainStream(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  input: StreamInput,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const blobs = new SavedBlobs();
  const save = saveStream(
    session,
    input,
    { ...saveOptions(session, options), onBlobs: (batch) => blobs.add(batch) },
    await knownStream(repository, plan.parent, options.signal),
  );
  const { bytes, counters } = await watch(save, options, started);
  const { content, fingerprints } = blobs;
  // A stream that brings no identity of its own is named by its content, so equal streams share their tree.
  const folder = streamFolder(0, identity(content));
  const beside = await saveFingerprints(session, fingerprints, content.length);
  const file = await session.saveTree(encodeFileTree(STREAM_FILE, bytes, content, beside));
  return {
    record: {
      schema: 1,
      volume: plan.volume,
      format: 'stream',
      driver: plan.driver,
      bytes,
      streams: [{ folder, bytes }],
    },
    folder: folderNode(STREAMS_FOLDER, await session.saveTree(encodeTree([folderNode(folder, file)]))),
    counters,
    holeBytes: 0,
    keptBytes: 0,
  };
}

/** Of a stream that brings none of its own: 16 hex digits. */
function identity(content: ContentList): string {
  const hash = createHash('sha256');
  for (const id of content) hash.update(id);
  return hash.digest('hex').slice(0, 16);
}
