// Makes dist/bundle/ of datamover/: the command with each verb in a script of its own, and every script that a thread or another
// process starts with, each with all its modules in one file. A command that loads two hundred modules one by one takes
// 30 ms longer to start, each of its threads 10 ms, and 10 MiB more (docs/adr/0021). Packages stay outside.
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('./', import.meta.url));
const compiled = fileURLToPath(new URL('../dist/datamover/', import.meta.url));
const out = fileURLToPath(new URL('../dist/bundle/', import.meta.url));

const COMMAND = 'cli/main.ts';
/** Scripts by the convention for their names. cell-thread.ts is what two of them share. */
const STARTED = globSync('**/*-{thread,main}.ts', { cwd: root }).filter(
  (path) => path !== 'transfer/cell-thread.ts',
);
/** No program has an identifier like this. */
const HERE = '$MODULE_URL$';

/** A module's own address, from which it finds scripts and files beside it, is what it would be without the bundle. */
const addresses = {
  name: 'addresses',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const address = `${HERE}(${JSON.stringify(relative(root, path).replace(/\.ts$/, '.js'))})`;
      return { contents: source.replaceAll('import.meta.url', address), loader: 'ts' };
    }),
};

async function bundle(entry, options) {
  const { outputFiles } = await build({
    ...{ entryPoints: [join(root, entry)], outbase: root, outdir: out, write: false, bundle: true },
    ...{ platform: 'node', format: 'esm', target: 'node24', packages: 'external' },
    ...{ minifySyntax: true, logLevel: 'warning' },
    ...{ plugins: [addresses], ...options },
  });
  return outputFiles.map(({ path, text }) => ({ path, text: withAddresses(path, text) }));
}

function withAddresses(path, text) {
  const named = text.replaceAll(
    /\$MODULE_URL\$\("([^"]+)"\)/g,
    (_, module) =>
      `new URL(${JSON.stringify(relative(dirname(path), join(out, module)))},import.meta.url).href`,
  );
  if (named.includes(HERE)) throw new Error(`${path} has an address that nobody knows`);
  return named;
}

const files = await Promise.all([
  bundle(COMMAND, { splitting: true, chunkNames: 'verbs/[name]-[hash]' }),
  ...STARTED.map((entry) => bundle(entry, {})),
]);
const made = files.flat();
for (const wasm of globSync('**/core.wasm', { cwd: compiled })) {
  made.push({ path: join(out, wasm), text: readFileSync(join(compiled, wasm)) });
}
for (const { path, text } of made) {
  if (existsSync(path) && readFileSync(path).equals(Buffer.from(text))) continue;
  mkdirSync(dirname(path), { recursive: true });
  // Whoever starts at this moment finds the old one or the new one.
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}
// Last. A command that runs since before may miss a script that it has not loaded yet.
const wanted = new Set(made.map(({ path }) => relative(out, path)));
for (const path of globSync('**/*.*', { cwd: out })) if (!wanted.has(path)) rmSync(join(out, path));
