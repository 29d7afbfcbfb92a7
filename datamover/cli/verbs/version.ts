import { programVersion } from '../../version.ts';
import type { Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command, run) {
    command.description('Prints the version of this command and of what it runs on.').action(() =>
      run(async ({ output }) => {
        const version = programVersion();
        const { arch, platform, version: node } = process;
        output.data(
          `datamover ${version} (restic repository format 1 and 2) on Node.js ${node}, ${platform}/${arch}`,
        );
        output.record({
          message_type: 'version',
          version,
          node_version: node,
          os: platform,
          arch,
          repository_versions: [1, 2],
        });
      }),
    );
  },
};
