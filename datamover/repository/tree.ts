import {
  arrayField,
  asObject,
  countField,
  idField,
  idsField,
  malformed,
  parseDocument,
  stringField,
} from './document.ts';
import type { Id } from './types.ts';

/**
 * A tree blob: the entries of one folder as JSON, `{"nodes":[...]}` and a line feed, sorted by name. Restic's `rewrite` and
 * `repair` read and write trees again and refuse any that would change, so our fields have restic's names, order and omissions.
 */
export interface TreeNode {
  readonly name: string;
  readonly type: string;
  /** Go's os.FileMode: permission bits, and bit 31 for a folder. */
  readonly mode?: number;
  /** Bytes of a file. */
  readonly size?: number;
  /** Data blobs of a file, in order. */
  readonly content?: readonly Id[];
  /** Tree blob of a folder. */
  readonly subtree?: Id;
  readonly mtime?: string;
}

const EMPTY_CONTENT = '"content":[]';
/** `"` 64 hex digits `",` */
const ID_JSON = 67;
const QUOTE = 0x22;
const COMMA = 0x2c;
const FOLDER_BIT = 0x80000000;
const FILE_MODE = 0o600;
const FOLDER_MODE = FOLDER_BIT + 0o700;
/** The same time and owner for every node: only then do two backups share the trees of what did not change. */
export const FIXED_TIME = '1970-01-01T00:00:00Z';

export function fileNode(name: string, size: number, content: readonly Id[]): TreeNode {
  return { name, type: 'file', mode: FILE_MODE, size, content };
}

export function folderNode(name: string, subtree: Id): TreeNode {
  return { name, type: 'dir', mode: FOLDER_MODE, subtree };
}

/** The bytes of a tree of ours. Names must be plain: what Go or JSON would escape has no place in a volume's layout. */
export function encodeTree(nodes: readonly TreeNode[]): Uint8Array<ArrayBuffer> {
  const sorted = [...nodes].sort((a, b) => (a.name < b.name ? -1 : 1));
  sorted.forEach((node, i) => {
    if (!/^[A-Za-z0-9._-]+$/.test(node.name) || node.name === '.' || node.name === '..') {
      throw new RangeError(`not a name for a node: ${JSON.stringify(node.name)}`);
    }
    if (sorted[i + 1]?.name === node.name) throw new RangeError(`two nodes have the name ${node.name}`);
  });
  return Buffer.from(`${JSON.stringify({ nodes: sorted.map(nodeFields) })}\n`);
}

/** Ids of 32 bytes each, one after the other. */
export interface RawIds extends Iterable<Buffer> {
  readonly length: number;
}

/**
 * The bytes of encodeTree([fileNode(name, size, ids), ...others]), without a string for each id: a stream of 1 TiB has 700 000. None of
 * the others may be empty.
 */
export function encodeFileTree(
  name: string,
  size: number,
  ids: RawIds,
  others: readonly TreeNode[] = [],
): Uint8Array<ArrayBuffer> {
  const frame = Buffer.from(encodeTree([fileNode(name, size, []), ...others]));
  const start = frame.indexOf(EMPTY_CONTENT) + EMPTY_CONTENT.length - 1;
  const list = Math.max(0, ids.length * ID_JSON - 1);
  const tree = Buffer.allocUnsafeSlow(frame.length + list);
  tree.set(frame.subarray(0, start));
  let at = start;
  for (const id of ids) {
    if (at > start) tree[at++] = COMMA;
    tree[at] = QUOTE;
    tree.write(id.toString('hex'), at + 1, 'latin1');
    tree[at + ID_JSON - 2] = QUOTE;
    at += ID_JSON - 1;
  }
  if (at !== start + list) throw new RangeError('a list of ids that is not as long as it says');
  tree.set(frame.subarray(start), at);
  return tree;
}

function nodeFields(node: TreeNode): object {
  return {
    name: node.name,
    type: node.type,
    mode: node.mode,
    mtime: FIXED_TIME,
    atime: FIXED_TIME,
    ctime: FIXED_TIME,
    uid: 0,
    gid: 0,
    // Go leaves out zeros where the field is optional.
    ...(node.type === 'file' && { size: node.size === 0 ? undefined : node.size, links: 1 }),
    content: node.content ?? null,
    subtree: node.subtree,
  };
}

/** Reads any program's tree. Every node has a name and a type; content and subtree are ids where they are there. */
export function decodeTree(json: Uint8Array, subject: string): TreeNode[] {
  return arrayField(parseDocument(json, subject), 'nodes', subject).map((entry, i) => {
    const node = asObject(entry, subject, `node ${i}`);
    const type = stringField(node, 'type', subject);
    const name = decodeNodeName(stringField(node, 'name', subject));
    if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
      throw malformed(subject, `node ${i} has a name that no folder can hold`);
    }
    return {
      name,
      type,
      ...(node['mode'] !== undefined && { mode: countField(node, 'mode', subject) }),
      ...(node['size'] !== undefined && { size: countField(node, 'size', subject) }),
      ...(typeof node['mtime'] === 'string' && { mtime: node['mtime'] }),
      ...(type === 'file' && { content: idsField(node, 'content', subject) }),
      ...(type === 'dir' && { subtree: idField(node, 'subtree', subject) }),
    };
  });
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
};

/** Restic keeps names as the inside of a Go string literal. Bytes that are no UTF-8 come back as Latin-1 characters. */
export function decodeNodeName(name: string): string {
  if (!name.includes('\\')) return name;
  return name.replace(
    /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/g,
    (
      all,
      byte: string | undefined,
      short: string | undefined,
      long: string | undefined,
      simple: string | undefined,
    ) => {
      const digits = byte ?? short ?? long;
      if (digits === undefined) return SIMPLE_ESCAPES[simple ?? ''] ?? all;
      const point = parseInt(digits, 16);
      return point <= 0x10ffff ? String.fromCodePoint(point) : all;
    },
  );
}
