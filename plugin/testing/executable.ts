import { fileURLToPath } from 'node:url';
import { run } from '../../datamover/process/spawn.ts';

/** The checkout, seen from the compiled tree. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** The plugin as it is shipped, from the sources as they are now; building it takes some seconds, finding it nothing. */
export async function pluginExecutable(): Promise<string> {
  const file = `${ROOT}dist/velero-plugin-datamover`;
  await run({ file: process.execPath, args: [`${ROOT}plugin/build-executable.mjs`, file] });
  return file;
}

/** The same program with the actions of sample-plugin.ts, unpackaged. */
export function samplePlugin(): { file: string; args: string[] } {
  return {
    file: process.execPath,
    args: ['--no-warnings', fileURLToPath(new URL('sample-plugin.js', import.meta.url))],
  };
}
