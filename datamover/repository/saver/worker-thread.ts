import { BlobThread } from './blob-thread.ts';
import type { WorkerStart } from './messages.ts';
import { runThread } from './thread-start.ts';

runThread((start: WorkerStart, port) => new BlobThread(start, port).run());
