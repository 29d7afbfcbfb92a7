import { fileURLToPath } from 'node:url';
import type { ProducerCommand } from '../driver.ts';
import type { RbdConnection } from './command.ts';
import type { ImageName } from './image-name.ts';
import type { Moment } from './record.ts';

/** A snap that must still be there, under this name and with these ids, when all of it was read. */
export interface PinnedSnap extends Moment {
  readonly name: ImageName & { readonly snap: string };
}

/** What export-main.ts prints as a diff of version 1. Plain JSON: it travels as an argument. */
export interface ExportJob {
  readonly connection: RbdConnection;
  readonly source: PinnedSnap;
  readonly reading:
    /** What the snap has allocated, as Ceph knows it. */
    | { readonly kind: 'allocated' }
    /** The base is of this very snap. */
    | { readonly kind: 'unchanged'; readonly bytes: number }
    /** What changed since an older snap of the same image. */
    | { readonly kind: 'changes'; readonly base: PinnedSnap }
    /** Every byte, whatever Ceph says is allocated. */
    | { readonly kind: 'everything'; readonly bytes: number };
}

const SCRIPT = fileURLToPath(new URL('./export-main.js', import.meta.url));

/** The program that does the job; its exit status counts. No secret is in the arguments: the key stays in its file. */
export function exportCommand(job: ExportJob): ProducerCommand {
  return { file: process.execPath, args: [SCRIPT, JSON.stringify(job)] };
}
