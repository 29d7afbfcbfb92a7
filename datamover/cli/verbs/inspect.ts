import {
  inspectBlob,
  inspectIndex,
  inspectKey,
  inspectLocks,
  inspectPack,
  inspectTree,
  listIds,
  resolveFile,
} from '../../catalog/objects.ts';
import { listBackups } from '../../catalog/list.ts';
import { resolveBackup } from '../../catalog/select.ts';
import { shortId } from '../../repository/id.ts';
import { describeLock } from '../../repository/lock.ts';
import type { Repository } from '../../repository/repository.ts';
import type { FileType } from '../../store/store.ts';
import { withRepository } from '../session.ts';
import { usage } from '../settings.ts';
import { formatFields, formatTable } from '../table.ts';
import { count, formatBytes, formatClock } from '../units.ts';
import type { Context, Verb } from '../verb.ts';

/** An object as it is shown: lines for people, a value for scripts. */
interface View {
  readonly lines: readonly string[];
  readonly record: unknown;
}

interface InspectOptions {
  readonly raw?: boolean;
}

type Inspector = (repository: Repository, reference: string) => Promise<View>;

/** What `inspect KIND ID` shows. */
const INSPECTORS: Readonly<Record<string, Inspector>> = {
  config: async ({ config }) => ({
    lines: formatFields([
      ['Repository', config.id],
      ['Version', String(config.version)],
      ['Chunker polynomial', config.chunker_polynomial],
    ]),
    record: config,
  }),
  snapshot: viewSnapshot,
  tree: viewTree,
  index: viewIndex,
  pack: viewPack,
  blob: viewBlob,
  key: viewKey,
  lock: viewLock,
};

/** Kinds that are files: without an id they are listed. */
const FILE_TYPES: Readonly<Record<string, FileType>> = {
  snapshot: 'snapshots',
  index: 'index',
  pack: 'data',
  key: 'keys',
  lock: 'locks',
};

const EXAMPLES = `
Examples:
  datamover inspect config
  datamover inspect snapshot latest
  datamover inspect tree latest:/image
  datamover inspect index                 lists the index files
  datamover inspect index 3f2a81c0
  datamover inspect pack 91bc --json
  datamover inspect blob BLOB-ID --raw > blob.bin

Kinds: config, snapshot, tree, index, pack, blob, key, lock. Without an id the objects of a kind are listed.
Everything shown was decrypted and verified. docs/format.md explains what the fields mean.`;

export const verb: Verb = {
  configure(command, run) {
    command
      .description('Shows any object of the repository as it is.')
      .argument('<kind>', Object.keys(INSPECTORS).join(', '))
      .argument('[id]', 'the object: an id or its beginning; for a tree also SNAPSHOT[:PATH]')
      .option('--raw', 'write the content of a blob to standard output as it is')
      .addHelpText('after', EXAMPLES)
      .action((kind: string, id: string | undefined, options: InspectOptions) =>
        run(async (context) => {
          const wanted = kind in INSPECTORS ? kind : kind.replace(/(?<=index)es$|s$/, '');
          const inspector = INSPECTORS[wanted];
          if (inspector === undefined) {
            const kinds = Object.keys(INSPECTORS).join(', ');
            throw usage(
              'inspect',
              `there is no kind of object called ${kind}`,
              undefined,
              `the kinds are ${kinds}`,
            );
          }
          const index = wanted === 'tree' || wanted === 'blob';
          // Whoever looks at locks does not add one.
          const lock = wanted === 'lock' ? 'none' : 'read';
          await withRepository(context, { lock, index }, (repository) => {
            if (options.raw === true) return writeRaw(context, repository, wanted, id);
            return show(context, repository, wanted, inspector, id);
          });
        }),
      );
  },
};

async function show(
  { output }: Context,
  repository: Repository,
  kind: string,
  inspector: Inspector,
  id: string | undefined,
): Promise<void> {
  const type = FILE_TYPES[kind];
  if (id === undefined && type !== undefined) {
    const ids = await listIds(repository, type);
    output.data(...ids);
    output.record(ids);
    return;
  }
  if (id === undefined && kind !== 'config')
    throw usage('inspect', `which ${kind}?`, undefined, 'name it by its id');
  const { lines, record } = await inspector(repository, id ?? '');
  output.data(...lines);
  output.record(record);
}

async function writeRaw(
  { output }: Context,
  repository: Repository,
  kind: string,
  id: string | undefined,
): Promise<void> {
  if (kind !== 'blob' || id === undefined)
    throw usage('inspect', '--raw is for a blob', undefined, 'inspect blob ID --raw');
  output.results.write((await inspectBlob(repository, id)).content);
}

async function viewSnapshot(repository: Repository, reference: string): Promise<View> {
  const { id } = resolveBackup(await listBackups(repository), reference);
  const snapshot = await repository.loadSnapshot(id);
  return {
    lines: [`snapshot ${id}`, ...JSON.stringify(snapshot, undefined, 2).split('\n')],
    record: { id, ...snapshot },
  };
}

async function viewTree(repository: Repository, reference: string): Promise<View> {
  const { id, nodes } = await inspectTree(repository, reference);
  const rows = nodes.map(({ name, type, size, content, subtree }) => [
    type,
    name,
    size === undefined ? '' : formatBytes(size),
    content === undefined ? '' : String(content.length),
    subtree ?? '',
  ]);
  const columns = [
    { heading: 'Type' },
    { heading: 'Name' },
    { heading: 'Size', right: true },
    { heading: 'Blobs', right: true },
    { heading: 'Subtree' },
  ];
  return { lines: [`tree ${id}`, ...formatTable(columns, rows)], record: { id, nodes } };
}

async function viewIndex(repository: Repository, reference: string): Promise<View> {
  const id = await resolveFile(repository, 'index', reference);
  const file = await inspectIndex(repository, id);
  const marks = new Map(file.packsToDelete.map((pack) => [pack.id, pack.time]));
  const listed = new Set(file.packs.map((pack) => pack.id));
  const packs = [...file.packs, ...file.packsToDelete.filter((pack) => !listed.has(pack.id))];
  const rows = packs.map((pack) => [
    pack.id,
    String(pack.blobs.length),
    formatBytes(pack.blobs.reduce((sum, blob) => sum + blob.length, 0)),
    marks.get(pack.id) ?? '',
  ]);
  const columns = [
    { heading: 'Pack' },
    { heading: 'Blobs', right: true },
    { heading: 'Size', right: true },
    { heading: 'Marked for deletion' },
  ];
  return {
    lines: [
      `index file ${id}: ${count(file.packs.length, 'pack')}, replaces ${count(file.supersedes.length, 'index file')}`,
      ...formatTable(columns, rows),
    ],
    record: { id, ...file },
  };
}

async function viewPack(repository: Repository, reference: string): Promise<View> {
  const id = await resolveFile(repository, 'data', reference);
  const { size, blobs } = await inspectPack(repository, id);
  const rows = blobs.map((blob) => [
    blob.type,
    blob.id,
    String(blob.offset),
    String(blob.length),
    blob.uncompressedLength === 0 ? '' : String(blob.uncompressedLength),
  ]);
  const columns = [
    { heading: 'Type' },
    { heading: 'Blob' },
    { heading: 'Offset', right: true },
    { heading: 'Length', right: true },
    { heading: 'Uncompressed', right: true },
  ];
  return {
    lines: [`pack ${id}: ${size} bytes, ${count(blobs.length, 'blob')}`, ...formatTable(columns, rows)],
    record: { id, size, blobs },
  };
}

async function viewBlob(repository: Repository, reference: string): Promise<View> {
  const { location, content } = await inspectBlob(repository, reference);
  return {
    lines: formatFields([
      ['Blob', reference],
      ['Type', location.type],
      ['Pack', location.pack],
      ['Offset', String(location.offset)],
      ['Stored', `${location.length} bytes${location.uncompressedLength === 0 ? ', plain' : ', compressed'}`],
      ['Content', `${content.length} bytes, verified`],
    ]),
    record: { id: reference, ...location, size: content.length },
  };
}

async function viewKey(repository: Repository, reference: string): Promise<View> {
  const id = await resolveFile(repository, 'keys', reference);
  const { created, username, hostname, kdf, N, r, p } = await inspectKey(repository, id);
  const current = id === repository.keyId;
  return {
    lines: formatFields([
      ['Key', `${id}${current ? ' (in use)' : ''}`],
      ['Created', created],
      ['User', username],
      ['Host', hostname],
      ['Derivation', `${kdf}, N=${N} r=${r} p=${p}`],
    ]),
    record: { id, current, created, username, hostname, kdf, N, r, p },
  };
}

async function viewLock(repository: Repository, reference: string): Promise<View> {
  const id = await resolveFile(repository, 'locks', reference);
  const found = (await inspectLocks(repository)).find((known) => known.id === id);
  const { lock, stale = false, ageMs = 0, problem } = found ?? {};
  const state = stale ? 'stale: nobody holds it any more' : 'held';
  return {
    lines: formatFields([
      ['Lock', id],
      ['Holder', lock === undefined ? (problem?.message ?? 'gone meanwhile') : describeLock(lock)],
      ['Refreshed', `${formatClock(ageMs / 1000)} ago`],
      ['State', state],
    ]),
    record: { id, short_id: shortId(id), stale, age_seconds: Math.round(ageMs / 1000), ...lock },
  };
}
