// `build-executable.mjs [FILE]` makes the plugin one file, dist/velero-plugin-datamover: all modules in one script (esbuild), with V8's code
// cache as a single executable application of the pinned Node. It does nothing when FILE was made from the same sources.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { inject } from 'postject';

const root = fileURLToPath(new URL('../', import.meta.url));
const target = resolve(process.argv[2] ?? join(root, 'dist/velero-plugin-datamover'));

/** Of V8 in the velero pod, which by default has 512 MiB for the server and all plugin processes. */
const NODE_FLAGS = ['--max-old-space-size=256', '--no-warnings'];
/** https://nodejs.org/api/single-executable-applications.html */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const inputs = createHash('sha256');
for (const file of globSync('{plugin,proto,api}/**/*.{ts,mjs}', { cwd: root }).sort()) {
  if (!file.endsWith('.test.ts')) inputs.update(file).update(readFileSync(join(root, file)));
}
inputs
  .update(readFileSync(join(root, 'package-lock.json')))
  .update(version)
  .update(process.version);
const stamp = inputs.digest('hex');
const stampFile = `${target}.inputs`;
if (existsSync(target) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) process.exit();

mkdirSync(dirname(target), { recursive: true });
const work = mkdtempSync(join(dirname(target), '.plugin-'));
try {
  const script = join(work, 'plugin.cjs');
  await build({
    ...{ entryPoints: [join(root, 'plugin/main.ts')], outfile: script, bundle: true },
    ...{
      platform: 'node',
      format: 'cjs',
      target: 'node24',
      minify: true,
      keepNames: true,
      legalComments: 'none',
      logLevel: 'warning',
    },
    define: { 'process.env.PLUGIN_VERSION': JSON.stringify(version) },
  });
  const settings = {
    ...{ main: script, output: join(work, 'plugin.blob'), disableExperimentalSEAWarning: true },
    ...{ useCodeCache: true, execArgv: NODE_FLAGS, execArgvExtension: 'none' },
  };
  writeFileSync(join(work, 'sea.json'), JSON.stringify(settings));
  execFileSync(process.execPath, ['--experimental-sea-config', join(work, 'sea.json')], { stdio: 'pipe' });

  const draft = join(work, 'executable');
  copyFileSync(process.execPath, draft);
  chmodSync(draft, 0o755);
  strip(draft);
  // Of section names that strip has taken away.
  console.warn = () => undefined;
  await inject(draft, 'NODE_SEA_BLOB', readFileSync(settings.output), { sentinelFuse: FUSE });
  renameSync(draft, target);
  writeFileSync(stampFile, stamp);
  console.error(`${target}: ${(statSync(target).size / 2 ** 20).toFixed(0)} MiB`);
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** Node's symbol table is a tenth of it and only for debuggers; where there is no strip (binutils), it stays. */
function strip(file) {
  try {
    execFileSync('strip', ['--strip-all', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    console.error('there is no strip (binutils) here: the executable is larger than it has to be');
  }
}
