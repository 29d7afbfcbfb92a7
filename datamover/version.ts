import { readFileSync } from 'node:fs';

let version: string | undefined;

/** The version in package.json, which lies beside the compiled tree. */
export function programVersion(): string {
  if (version === undefined) {
    const manifest: unknown = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    );
    const found =
      typeof manifest === 'object' && manifest !== null && 'version' in manifest
        ? manifest.version
        : undefined;
    version = typeof found === 'string' ? found : '0.0.0';
  }
  return version;
}
