/** What a snapshot is grouped by before a policy is applied to each group on its own. */
export type GroupField = 'host' | 'paths' | 'tags';

export interface GroupKey {
  readonly host: string;
  readonly paths: readonly string[];
  readonly tags: readonly string[];
}

export interface Groupable {
  readonly hostname?: string;
  readonly paths: readonly string[];
  readonly tags?: readonly string[];
}

export interface Group<T> {
  readonly key: GroupKey;
  /** In the order they came. */
  readonly members: T[];
}

/** restic's default for `forget`. */
export const DEFAULT_GROUPING: readonly GroupField[] = ['host', 'paths'];

/** Reads restic's `--group-by`: names separated by commas; nothing means one group for all. Throws RangeError. */
export function parseGrouping(text: string): GroupField[] {
  const fields: GroupField[] = [];
  for (const word of text.split(',')) {
    if (word === '') continue;
    const field = SPELLINGS[word];
    if (field === undefined)
      throw new RangeError(`cannot group by "${word}": host, paths and tags are known`);
    fields.push(field);
  }
  return fields;
}

const SPELLINGS: Partial<Record<string, GroupField>> = {
  host: 'host',
  hosts: 'host',
  path: 'paths',
  paths: 'paths',
  tag: 'tags',
  tags: 'tags',
};

/** Splits snapshots into groups, by first appearance. Paths and tags are sets here: their order makes no difference. */
export function groupSnapshots<T extends Groupable>(
  snapshots: Iterable<T>,
  by: readonly GroupField[],
): Group<T>[] {
  const groups = new Map<string, Group<T>>();
  for (const snapshot of snapshots) {
    const key: GroupKey = {
      host: by.includes('host') ? (snapshot.hostname ?? '') : '',
      paths: by.includes('paths') ? [...snapshot.paths].sort() : [],
      tags: by.includes('tags') ? [...(snapshot.tags ?? [])].sort() : [],
    };
    const name = JSON.stringify(key);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, { key, members: [snapshot] });
    else group.members.push(snapshot);
  }
  return [...groups.values()];
}

/** A group's key for people: `host a, paths [/x]`. */
export function describeGroup(key: GroupKey): string {
  const parts: string[] = [];
  if (key.host !== '') parts.push(`host ${key.host}`);
  if (key.paths.length > 0) parts.push(`paths [${key.paths.join(', ')}]`);
  if (key.tags.length > 0) parts.push(`tags [${key.tags.join(', ')}]`);
  return parts.length === 0 ? 'all snapshots' : parts.join(', ');
}
