import type { Command } from 'commander';
import type { BackupFilter } from '../catalog/select.ts';
import { collect, collectTagLists } from './arguments.ts';
import { parseVolumeName, type VolumeName } from '../transfer/layout.ts';

export interface FilterOptions {
  readonly volume?: VolumeName;
  readonly host?: readonly string[];
  readonly tag?: readonly (readonly string[])[];
}

/** The options that choose among backups, alike in every verb that does. */
export function addFilterOptions(command: Command): Command {
  return command
    .option('--volume <namespace/name>', 'only backups of this volume', parseVolumeName)
    .option('--host <name>', 'only backups of this host or cluster (again for another)', collect)
    .option(
      '--tag <tag[,tag...]>',
      'only backups with all these tags (again for an alternative)',
      collectTagLists,
    );
}

/** The same for a verb that takes one backup: RESTIC_HOST is who we are, and `latest` is of our own history where there is one. */
export function readOwnFilter(options: FilterOptions, env: NodeJS.ProcessEnv): BackupFilter {
  const ownHost = env['RESTIC_HOST'] ?? '';
  return { ...readFilter(options), ...(ownHost === '' ? {} : { ownHost }) };
}

export function readFilter({ volume, host, tag }: FilterOptions): BackupFilter {
  return {
    ...(volume === undefined ? {} : { volume: `${volume.namespace}/${volume.name}` }),
    ...(host === undefined ? {} : { hosts: host }),
    ...(tag === undefined ? {} : { tagLists: tag }),
  };
}
