import type { Random } from '../../repository/testing/bytes.ts';

const KIB = 1024;
/** Smaller ones are written beyond their end, which fails and changes nothing. */
const SMALLEST_KIB = 2 * KIB;
const LARGEST_KIB = 4 * KIB;

export function pick<T>(random: Random, list: readonly T[]): T {
  const chosen = list[random.below(list.length)];
  if (chosen === undefined) throw new Error('nothing to choose from');
  return chosen;
}

/** What happens between two batches of steps: to the newest snapshots, and to what was left of them. */
export const EVENTS = [
  'snapshot-gone',
  'rollback',
  'nothing',
  'bookmark-gone',
  'promoted',
  'cloned',
  'snapshot-gone',
] as const;
export type Event = (typeof EVENTS)[number];

export interface Scene {
  /** Lines for the shell. */
  readonly script: string;
  /** Where it goes on. */
  readonly dataset: string;
}

/** `last`: the number of the newest snapshot `@sN`; `back`: how many before it are there at least. */
export function playEvent(
  event: Event,
  dataset: string,
  { last, back, clone }: { readonly last: number; readonly back: number; readonly clone: string },
  random: Random,
): Scene {
  const newest = `${dataset}@s${last}`;
  switch (event) {
    case 'nothing':
      return { script: '', dataset };
    case 'rollback':
      return {
        script: `zfs rollback -r ${dataset}@s${last - 1 - random.below(back - 1)}`,
        dataset,
      };
    case 'snapshot-gone':
      return { script: `zfs destroy ${newest}`, dataset };
    case 'bookmark-gone':
      return {
        script: `zfs destroy ${newest}; for b in $(zfs list -Ho name -t bookmark ${dataset}); do zfs destroy $b; done`,
        dataset,
      };
    case 'cloned':
      return { script: `zfs clone ${newest} ${clone}`, dataset: clone };
    case 'promoted':
      // The snapshots are the clone's from then on, with their guids.
      return { script: `zfs clone ${newest} ${clone}; zfs promote ${clone}`, dataset: clone };
  }
}

/** A change of a volume, as a line for the shell. */
export function zvolStep(random: Random, volume: string): string {
  const device = `/dev/zvol/${volume}`;
  const seek = random.below(LARGEST_KIB / 4);
  const count = 1 + random.below(60);
  const write = (from: string, block: string): string =>
    `dd if=/dev/${from} of=${device} bs=${block} count=${count} seek=${seek} conv=notrunc,fsync || true`;
  switch (pick(random, ['write', 'write', 'small', 'zero', 'discard', 'resize'] as const)) {
    case 'write':
      return write('urandom', '4k');
    case 'small':
      return write('urandom', '512');
    case 'zero':
      return write('zero', '4k');
    case 'discard':
      return `blkdiscard -o ${seek * 4096} -l ${count * 8192} ${device} || true`;
    case 'resize': {
      const size = SMALLEST_KIB + 64 * random.below((LARGEST_KIB - SMALLEST_KIB) / 64);
      return `zfs set volsize=${size}K ${volume}`;
    }
  }
}

const FILE_CHANGES = [
  'create',
  'create',
  'delete',
  'rename',
  'truncate',
  'xattr',
  'hole',
  'link',
  'mode',
  'folder',
] as const;

/** A change of a filesystem's files, in its folder, as a line for the shell. What a line names need not be there. */
export function datasetStep(random: Random): string {
  const file = (): string => `d${random.below(3)}/f${random.below(9)}`;
  const [one, other] = [file(), file()];
  const bytes = random.below(70_000);
  const line = ((): string => {
    switch (pick(random, FILE_CHANGES)) {
      case 'create':
        return `head -c ${bytes} /dev/urandom > ${one}`;
      case 'delete':
        return `rm ${one}`;
      case 'rename':
        return `mv ${one} ${other}`;
      case 'truncate':
        return `dd if=/dev/null of=${one} bs=1 seek=${bytes}`;
      case 'xattr':
        return `setfattr -n user.n${random.below(3)} -v v${'x'.repeat(random.below(300))} ${one}`;
      case 'hole':
        return `dd if=/dev/urandom of=${one} bs=1k count=3 seek=${bytes % 900} conv=notrunc`;
      case 'link':
        return `ln ${one} ${other}; ln -s ${one} l${random.below(5)}`;
      case 'mode':
        return `chmod ${pick(random, ['600', '741', '444', '1777'])} ${one}`;
      case 'folder':
        return `rm -r d${random.below(3)}`;
    }
  })();
  return `mkdir -p d0 d1 d2; { ${line}; } || true`;
}
