/**
 * `damage`: something that a snapshot may need is gone or wrong, or a file contradicts another. `untidy`: all backups are whole, but there
 * is something to clear away; the next prune does it. restic draws the same line between errors and hints.
 */
export type Severity = 'damage' | 'untidy';

export interface Problem {
  readonly severity: Severity;
  /** One sentence that names the file, what is wrong, and whom it hits. */
  readonly sentence: string;
}

export interface CheckReport {
  /** All problems, up to `PROBLEMS_KEPT`. */
  readonly problems: readonly Problem[];
  readonly damageCount: number;
  readonly untidyCount: number;
  readonly statistics: CheckStatistics;
}

export interface CheckStatistics {
  readonly snapshots: number;
  readonly trees: number;
  readonly indexFiles: number;
  readonly packs: number;
  readonly blobs: { readonly used: number; readonly unused: number; readonly duplicate: number };
  /** What was read back as a whole. */
  readonly read: { readonly packs: number; readonly bytes: number };
}

/** A repository that lost a pack can have millions of problems; they are all counted and told, but not all kept. */
export const PROBLEMS_KEPT = 10_000;

/** Collects problems as they are found. */
export class ProblemList {
  readonly kept: Problem[] = [];
  damageCount = 0;
  untidyCount = 0;
  readonly #tell: ((problem: Problem) => void) | undefined;

  constructor(tell?: (problem: Problem) => void) {
    this.#tell = tell;
  }

  damage(sentence: string): void {
    this.damageCount++;
    this.#add({ severity: 'damage', sentence });
  }

  untidy(sentence: string): void {
    this.untidyCount++;
    this.#add({ severity: 'untidy', sentence });
  }

  #add(problem: Problem): void {
    if (this.kept.length < PROBLEMS_KEPT) this.kept.push(problem);
    this.#tell?.(problem);
  }
}
