import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { run } from '../datamover/process/spawn.ts';
import { describePeer } from '../e2e/servers/describe-peers.ts';
import { scratchDirectory } from '../e2e/servers/scratch.ts';
import { serviceDefinition } from '../proto/service.ts';
import { pluginExecutable } from './testing/executable.ts';
import { connect, type Connected } from './testing/host.ts';

/** What Velero's image has since 1.17.2 (Ubuntu 22.04's): docs/plugin.md. */
const LIBRARIES = [
  'libc.so.6',
  'libdl.so.2',
  'libgcc_s.so.1',
  'libm.so.6',
  'libpthread.so.0',
  'libstdc++.so.6',
];
const GLIBC = 35;
const GLIBCXX = 30;

let executable: string;
let libraries: string[];

beforeAll(async () => {
  executable = await pluginExecutable();
  const { stdout } = await run({ file: 'ldd', args: [executable] });
  libraries = stdout.split('\n').flatMap((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}, 120_000);

describe('the executable in Velero’s image', () => {
  test('needs its libraries and no others', () => {
    const names = libraries
      .map((path) => path.split('/').at(-1))
      .filter((name) => !name?.startsWith('ld-linux'));
    expect(LIBRARIES).toEqual(expect.arrayContaining(names));
  });

  test('needs no newer versions of them', async () => {
    const text = (await readFile(executable)).toString('latin1');
    const newest = (pattern: RegExp): number =>
      Math.max(...Array.from(text.matchAll(pattern), ([, version]) => Number(version)));
    const [glibc, glibcxx] = [
      newest(/\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)/g),
      newest(/\0GLIBCXX_3\.4\.(\d+)(?=\0)/g),
    ];
    // Below these nothing was found, for Node itself needs more.
    expect(glibc).toBeGreaterThan(16);
    expect(glibc).toBeLessThanOrEqual(GLIBC);
    expect(glibcxx).toBeGreaterThan(16);
    expect(glibcxx).toBeLessThanOrEqual(GLIBCXX);
  });

  test('has at most 90 MiB in memory when it has shaken hands', async () => {
    const { process, end } = await connect({ file: executable });
    const status = await readFile(`/proc/${process.pid}/status`, 'utf8');
    await end();
    const kilobytes = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]);
    expect(kilobytes / 1024).toBeLessThanOrEqual(90);
  });
});

/**
 * A root that holds the libraries, the executable and nothing else, read-only, in a mount namespace of its own; user and group are those
 * of Velero's image.
 */
const CONTAINER = `
  root=$1; shift
  mount -t tmpfs tmpfs "$root"
  mkdir -p "$root/plugins" "$root/proc" "$root/tmp" "$root/scratch" "$root/target"
  for library in $LIBRARIES; do mkdir -p "$root$(dirname "$library")"; cp -L "$library" "$root$library"; done
  cp "$EXECUTABLE" "$root/plugins/velero-plugin-datamover"
  mount -t proc proc "$root/proc"
  for writable in $WRITABLE; do mount -t tmpfs -o mode=1777 tmpfs "$root/$writable"; done
  mount -o remount,ro "$root"
  exec chroot --userspec=1002:1000 "$root" /plugins/velero-plugin-datamover "$@"`;

describePeer('kernel', 'in a root with glibc and libstdc++ alone, read-only, as user 1002', () => {
  let open: Connected[] = [];
  let roots: string[] = [];
  afterEach(async () => {
    for (const { client, process } of open) {
      client.close();
      await process.stop();
    }
    open = [];
    for (const root of roots) await rm(root, { recursive: true });
    roots = [];
  });

  async function container(writable: string, ...args: string[]) {
    const root = await scratchDirectory('image');
    roots.push(root);
    return {
      file: 'unshare',
      args: ['--mount', '--', 'sh', '-euc', CONTAINER, 'sh', root, ...args],
      env: {
        ...{ LIBRARIES: libraries.join(' '), EXECUTABLE: executable, WRITABLE: writable },
        ...{ TMPDIR: undefined, VELERO_PLUGIN: undefined },
      },
    };
  }

  async function served(writable: string, env: Record<string, string>): Promise<Connected> {
    const command = await container(writable);
    const connected = await connect({
      ...command,
      env: { ...command.env, VELERO_PLUGIN: 'hello', ...env },
      socketPath: (path, pid) => join(`/proc/${pid}/root`, path),
    });
    open.push(connected);
    return connected;
  }

  test('it shakes hands and answers', async () => {
    const { handshake, call, process } = await served('tmp', {});
    expect(handshake[3]).toMatch(/^\/tmp\/plugin/);
    expect(await call(serviceDefinition('grpc.health.v1.Health').Check, { service: 'plugin' })).toEqual({
      status: 1,
    });
    const { plugins } = await call(serviceDefinition('generated.PluginLister').ListPlugins, {});
    expect(plugins.length).toBeGreaterThan(0);
    for (const { command } of plugins) expect(command).toBe('/plugins/velero-plugin-datamover');
    expect(await readFile(`/proc/${process.pid}/status`, 'utf8')).toMatch(/^Uid:\s+1002\s+1002/m);
  });

  test('its ObjectStore loads there too', async () => {
    const { call } = await served('tmp', {});
    const config = { bucket: 'b', region: 'r', s3Url: 'http://127.0.0.1:1' };
    const opening = call(serviceDefinition('generated.ObjectStore').Init, {
      plugin: 'datamover.io/s3',
      config,
    });
    await expect(opening).rejects.toThrow(/there are no S3 credentials for profile default/);
  });

  test('without a writable /tmp it uses Velero’s scratch volume', async () => {
    const { handshake } = await served('scratch', { VELERO_SCRATCH_DIR: '/scratch' });
    expect(handshake[3]).toMatch(/^\/scratch\/plugin/);
  });

  test('the image’s entrypoint copies it to the plugin volume', async () => {
    const { stdout } = await run(await container('target', '--install', '/target'));
    expect(stdout).toBe('/target/velero-plugin-datamover\n');
    const full = run(await container('tmp', '--install', '/target'));
    await expect(full).rejects.toThrow(/read-only file system/);
  });
});
