import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { cached } from './cache.ts';
import type { Installed } from './install.ts';

/** The module that pins MinIO and everything it is built from. */
const MODULE = join(import.meta.dirname, 'minio');

/** Builds MinIO from its Go module: two minutes of two cores the first time. */
export async function installMinio(): Promise<Installed> {
  const compiler = (await run({ file: 'go', args: ['version'] })).stdout.trim();
  const pins = await Promise.all(['go.mod', 'go.sum'].map((name) => readFile(join(MODULE, name), 'utf8')));
  const { folder, version } = await cached('minio', [...pins, compiler], async (target) => {
    await run({
      file: 'go',
      args: [
        'build',
        '-p',
        '2',
        '-trimpath',
        '-ldflags=-s -w',
        '-o',
        join(target, 'minio'),
        'github.com/minio/minio',
      ],
      cwd: MODULE,
      env: { CGO_ENABLED: '0' },
      operation: 'build MinIO with',
    });
    const module = (await run({ file: 'go', args: ['list', '-m', 'github.com/minio/minio'], cwd: MODULE }))
      .stdout;
    return module.trim();
  });
  return { file: join(folder, 'minio'), version };
}
