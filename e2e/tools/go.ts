import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { cached, type CachedTool } from './cache.ts';

export interface GoBuild {
  /** The folder beside this file whose go.mod and go.sum pin everything, and the cached folder's name. */
  readonly module: string;
  /** Main packages; each becomes a program named after its last path element. */
  readonly packages: readonly [string, ...string[]];
  /** The module whose version is the programs' version. */
  readonly versionOf: string;
  /** Linker variables (`-X`) that programs report as their version. */
  readonly stamps?: (version: string) => Readonly<Record<string, string>>;
  /** Folders of modules that are kept beside the programs, under the name `as`. */
  readonly keep?: readonly { readonly module: string; readonly path: string; readonly as: string }[];
}

/** Builds programs of a Go module into the cache. One `go build` for all of them, so that what they share is compiled once. */
export async function buildGo(build: GoBuild): Promise<CachedTool> {
  const cwd = join(import.meta.dirname, build.module);
  const go = async (...args: string[]): Promise<string> =>
    (await run({ file: 'go', args, cwd })).stdout.trim();
  const mod = await readFile(join(cwd, 'go.mod'), 'utf8');
  const sum = await readFile(join(cwd, 'go.sum'), 'utf8');
  const version = pinnedVersion(mod, build.versionOf);
  const stamps = Object.entries(build.stamps?.(version) ?? {}).map(([name, value]) => `-X ${name}=${value}`);
  const flags = ['-trimpath', `-ldflags=${['-s', '-w', ...stamps].join(' ')}`];
  const keep = build.keep ?? [];
  const inputs = [mod, sum, await go('version'), ...build.packages, ...flags, JSON.stringify(keep)];
  return cached(build.module, inputs, async (folder) => {
    await run({
      file: 'go',
      args: ['build', '-p', '2', ...flags, '-o', `${folder}/`, ...build.packages],
      cwd,
      env: { CGO_ENABLED: '0' },
      operation: `build ${build.module} with`,
    });
    for (const { module, path, as } of keep) {
      const source = await go('list', '-m', '-f', '{{.Dir}}', module);
      await cp(join(source, path), join(folder, as), { recursive: true });
    }
    return `${build.versionOf} ${version}`;
  });
}

function pinnedVersion(mod: string, module: string): string {
  const line = mod.split('\n').find((text) => text.trim().startsWith(`${module} v`));
  const version = line?.trim().split(' ')[1];
  if (version === undefined) throw new Error(`go.mod does not require ${module}`);
  return version;
}
