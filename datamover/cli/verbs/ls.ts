import { listFiles, type BackupFile } from '../../catalog/files.ts';
import { listBackups } from '../../catalog/list.ts';
import { resolveBackup } from '../../catalog/select.ts';
import { DatamoverError } from '../../errors.ts';
import { addFilterOptions, readFilter, type FilterOptions } from '../filter.ts';
import { withRepository } from '../session.ts';
import { formatTable } from '../table.ts';
import { formatBytes } from '../units.ts';
import type { Verb } from '../verb.ts';

const EXAMPLES = `
Examples:
  datamover ls latest --volume shop/db
  datamover ls 3f2a81c0 /image --json

An image is in /image/NNNNNN/data, segments of 1 GiB; streams are in /streams; /volume.json says what the volume was.
With --json: one array of {path, type, size, blobs}, sizes in bytes.`;

export const verb: Verb = {
  configure(command, run) {
    addFilterOptions(command)
      .description(
        'Lists the files of a backup as they lie in the repository (and as restic would restore them).',
      )
      .argument('<snapshot>', 'an id or its beginning, latest, or latest~1 for the one before')
      .argument('[path]', 'only this file, or what is in this folder')
      .addHelpText('after', EXAMPLES)
      .action((snapshot: string, path: string | undefined, options: FilterOptions) =>
        run((context) =>
          withRepository(context, { lock: 'read', index: true }, async (repository) => {
            const backup = resolveBackup(await listBackups(repository), snapshot, readFilter(options));
            const files: BackupFile[] = [];
            for await (const file of listFiles(repository, backup.tree)) {
              if (isWithin(file.path, path)) files.push(file);
            }
            if (path !== undefined && files.length === 0) {
              const subject = `${path} in snapshot ${backup.shortId}`;
              throw new DatamoverError({
                operation: 'list',
                subject,
                cause: 'there is no such file or folder',
              });
            }
            if (context.output.json) context.output.record(files.map(describeFile));
            else context.output.data(...formatFiles(files));
          }),
        ),
      );
  },
};

function isWithin(path: string, wanted: string | undefined): boolean {
  if (wanted === undefined) return true;
  const folder = `/${wanted.replace(/^\/+|\/+$/g, '')}`;
  return folder === '/' || path === folder || path.startsWith(`${folder}/`);
}

function describeFile({ path, type, size, content }: BackupFile): Record<string, unknown> {
  return { path, type, size, blobs: content.length };
}

function formatFiles(files: readonly BackupFile[]): string[] {
  const rows = files
    .filter(({ type }) => type !== 'dir')
    .map(({ path, size, content }) => [path, formatBytes(size), String(content.length)]);
  return formatTable(
    [{ heading: 'Path' }, { heading: 'Size', right: true }, { heading: 'Blobs', right: true }],
    rows,
  );
}
