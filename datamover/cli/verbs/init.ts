import { parseCount } from '../arguments.ts';
import { createRepository, withOtherRepository, type OtherRepository } from '../session.ts';
import { usage } from '../settings.ts';
import type { Verb } from '../verb.ts';

interface InitOptions extends OtherRepository {
  readonly repositoryVersion?: string;
  readonly copyChunkerParams?: boolean;
}

const EXAMPLES = `
Examples:
  datamover init -r /srv/repo
  datamover init -r s3:https://s3.example.com/bucket/prefix --password-file ~/.repo-password
  datamover init -r /srv/second --from-repo /srv/repo --copy-chunker-params

Without the password the data is lost: keep a copy of it somewhere else. A repository can have several (datamover key).`;

export const verb: Verb = {
  configure(command, run) {
    command
      .description('Makes a new repository in restic format. An existing one is never touched.')
      .option('--repository-version <version>', '1, 2, latest or stable (default: stable, which is 2)')
      .option(
        '--copy-chunker-params',
        'cut data as --from-repo does, so that copies between the two are found again',
      )
      .option('--from-repo <location>', 'the other repository [RESTIC_FROM_REPOSITORY]')
      .option('--from-repository-file <file>', 'read its location from a file [RESTIC_FROM_REPOSITORY_FILE]')
      .option('--from-password-file <file>', 'read its password from a file [RESTIC_FROM_PASSWORD_FILE]')
      .option(
        '--from-password-command <command>',
        'run a command that prints it [RESTIC_FROM_PASSWORD_COMMAND]',
      )
      .addHelpText('after', EXAMPLES)
      .action((options: InitOptions) =>
        run(async (context) => {
          const version = formatVersion(options.repositoryVersion);
          const other = options.fromRepo ?? options.fromRepositoryFile;
          if (other !== undefined && options.copyChunkerParams !== true) {
            throw usage('init', '--from-repo is of use only with --copy-chunker-params');
          }
          const polynomial =
            options.copyChunkerParams === true
              ? await withOtherRepository(
                  context,
                  options,
                  { lock: 'none' },
                  async (from) => from.config.chunker_polynomial,
                )
              : undefined;
          const { config, location } = await createRepository(context, {
            version,
            ...(polynomial === undefined ? {} : { polynomial }),
          });
          context.output.say(
            `created repository ${config.id.slice(0, 10)} at ${location} (format version ${config.version})`,
            'Its password is needed for everything: who loses it loses the data.',
          );
          context.output.record({
            message_type: 'initialized',
            id: config.id,
            repository: location,
            version: config.version,
          });
        }),
      );
  },
};

function formatVersion(text = 'stable'): 1 | 2 {
  if (text === 'stable' || text === 'latest') return 2;
  const version = /^\d+$/.test(text) ? parseCount(text) : 0;
  if (version !== 1 && version !== 2)
    throw usage('init', `there is no repository version ${text}`, undefined, 'use 1 or 2');
  return version;
}
