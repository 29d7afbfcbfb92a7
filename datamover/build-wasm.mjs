// Compiles every room's wasm/assembly/ to wasm/core.wasm under dist/. The memories are imported and shared, so that every
// thread of a transfer works on the same slabs and packs.
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));

for (const entry of globSync('datamover/**/wasm/assembly/index.ts', { cwd: root })) {
  const assembly = dirname(entry);
  const out = `${root}dist/${dirname(assembly)}/core.wasm`;
  const newest = Math.max(
    ...readdirSync(root + assembly).map((name) => statSync(`${root}${assembly}/${name}`).mtimeMs),
  );
  const built = statSync(out, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built >= newest) continue;
  mkdirSync(dirname(out), { recursive: true });
  const asc = `${root}node_modules/assemblyscript/bin/asc.js`;
  const flags =
    '-O3 --converge --runtime stub --enable simd,threads --importMemory --noExportMemory --sharedMemory --initialMemory 1 --maximumMemory 65536 --noAssert';
  execFileSync(process.execPath, [asc, root + entry, '-o', out, ...flags.split(' ')], { stdio: 'inherit' });
}
