import { join } from 'node:path';
import { buildGo } from './go.ts';
import type { Installed } from './install.ts';

const MINIO = 'github.com/minio/minio';

/** Builds MinIO from its Go module: two minutes of two cores the first time. */
export async function installMinio(): Promise<Installed> {
  const { folder, version } = await buildGo({ module: 'minio', packages: [MINIO], versionOf: MINIO });
  return { file: join(folder, 'minio'), version };
}
