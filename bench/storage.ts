import type { Job } from './measure.ts';

/** A volume on a real storage whose snapshots are backed up; the changes between them are ours to choose. */
export interface BenchVolume {
  readonly storage: 'rbd' | 'zfs';
  /** The storage's own tool that prints what changed. */
  readonly tool: string;
  /** What programs need to reach it. */
  readonly env: Readonly<Record<string, string>>;
  /** Writes the blocks and makes a snapshot by this name. */
  change(writes: Iterable<BlockWrite>, snapshot: string): Promise<void>;
  /** What `datamover backup` is asked for, besides the volume's name. */
  backupArguments(snapshot: string): string[];
  /** The tool alone: all that is allocated without `from`. */
  send(snapshot: string, from?: string): Pick<Job, 'file' | 'args'>;
  /** A command that prints the whole image as of the newest snapshot. */
  print(snapshot: string): readonly string[];
  stop(): Promise<void>;
}

export interface BlockWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}
