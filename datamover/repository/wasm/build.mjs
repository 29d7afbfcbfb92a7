// Compiles assembly/ to dist/datamover/repository/wasm/core.wasm. The memory is imported and shared, so that every thread of
// a transfer works on the same slabs and packs.
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../../../', import.meta.url));
const out = `${root}dist/datamover/repository/wasm/core.wasm`;

const newest = Math.max(...readdirSync(`${here}assembly`).map((name) => statSync(`${here}assembly/${name}`).mtimeMs));
const built = statSync(out, { throwIfNoEntry: false })?.mtimeMs ?? 0;
if (built < newest) {
  mkdirSync(`${root}dist/datamover/repository/wasm`, { recursive: true });
  const asc = `${root}node_modules/assemblyscript/bin/asc.js`;
  const flags = '-O3 --converge --runtime stub --enable simd,threads --importMemory --noExportMemory --sharedMemory --initialMemory 1 --maximumMemory 65536 --noAssert';
  execFileSync(process.execPath, [asc, `${here}assembly/index.ts`, '-o', out, ...flags.split(' ')], { stdio: 'inherit' });
}
