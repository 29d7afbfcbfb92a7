import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { credentials } from '@grpc/grpc-js';
import { commandFailure, run } from '../datamover/process/spawn.ts';
import { describePeer } from '../e2e/servers/describe-peers.ts';
import { serviceDefinition } from '../proto/service.ts';
import { pluginExecutable } from './testing/executable.ts';
import { connect, HOST_ENV, type Connected, type HostOptions } from './testing/host.ts';

const health = serviceDefinition('grpc.health.v1.Health');
let file: string;
let directory: string;
let open: Connected[] = [];

beforeAll(async () => {
  file = await pluginExecutable();
  directory = await mkdtemp(join(tmpdir(), 'plugin-test-'));
}, 120_000);
afterEach(async () => {
  await Promise.all(open.map(({ process }) => process.stop()));
  open = [];
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function plugin(options: Omit<HostOptions, 'file'> = {}): Promise<Connected> {
  const connected = await connect({ file, ...options });
  open.push(connected);
  return connected;
}

async function byHand(args: string[], env: Record<string, string | undefined>) {
  try {
    return await run({ file, args, env: { VELERO_PLUGIN: undefined, ...env } });
  } catch (error) {
    const failure = commandFailure(error);
    if (failure === undefined) throw error;
    return failure;
  }
}

describe('the handshake', () => {
  test('is one line with go-plugin’s and Velero’s protocol, and the socket answers', async () => {
    const { handshake, socket, call, end, stdout } = await plugin();
    expect(handshake).toEqual(['1', '2', 'unix', socket, 'grpc', '']);
    expect(basename(socket)).toMatch(/^plugin\d+/);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(await call(health.Check, { service: 'plugin' })).toEqual({ status: 1 });
    expect(await end()).toEqual([]);
    expect(stdout).toEqual([]);
    expect(existsSync(socket)).toBe(false);
  });

  test.each([
    ['2', '2'],
    ['1,2,3', '2'],
    // Then the host names both versions in its refusal.
    ['3', '2'],
    ['', '2'],
  ])('to a host that offers versions "%s" it answers %s', async (PLUGIN_PROTOCOL_VERSIONS, answer) => {
    const { handshake } = await plugin({ env: { PLUGIN_PROTOCOL_VERSIONS } });
    expect(handshake[1]).toBe(answer);
  });

  test('flags that mean nothing to it are passed over', async () => {
    const args = [
      '--features=EnableCSI',
      '--uploader-type=kopia',
      '--plugin-dir',
      '/x',
      '-v',
      '--',
      'server',
    ];
    const { end } = await plugin({ args: [...args, '--log-level=nonsense', '--log-format', 'json'] });
    expect(await end()).toEqual([]);
  });

  test('the socket lies where the host wants it, open to its group', async () => {
    const group = String(process.getgid?.() ?? 0);
    const PLUGIN_UNIX_SOCKET_DIR = directory;
    const { socket } = await plugin({ env: { PLUGIN_UNIX_SOCKET_DIR, PLUGIN_UNIX_SOCKET_GROUP: group } });
    expect(dirname(socket)).toBe(directory);
    expect(statSync(socket).mode & 0o777).toBe(0o660);
  });

  test('with an unusable temporary directory it takes Velero’s scratch directory, else says what to do', async () => {
    const TMPDIR = join(directory, 'x'.repeat(120));
    await mkdir(TMPDIR);
    const { socket } = await plugin({ env: { TMPDIR, VELERO_SCRATCH_DIR: directory } });
    expect(dirname(socket)).toBe(directory);
    const nowhere = { ...HOST_ENV, TMPDIR, VELERO_SCRATCH_DIR: '/nowhere' };
    const { status, stderr } = await byHand([], nowhere);
    expect(status).toBe(1);
    expect(stderr).toMatch(/no place for the plugin's socket .*name is too long.*\/nowhere: .*TMPDIR\n$/);
  });

  test('a host that wants many streams on one connection hears no', async () => {
    const { handshake } = await plugin({ env: { PLUGIN_MULTIPLEX_GRPC: 'true' } });
    expect(handshake).toHaveLength(7);
    expect(handshake[6]).toBe('false');
  });
});

describe('without a host', () => {
  test.each([{}, { VELERO_PLUGIN: 'goodbye' }])('it says what it is and exits with 1: %j', async (env) => {
    const { status, stdout, stderr } = await byHand(['server'], env);
    expect(status).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^This is a Velero plugin: .*velero plugin add IMAGE`\.\n$/);
  });

  test('--version is package.json’s', async () => {
    const { version } = JSON.parse(
      await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as { version: string };
    expect((await byHand(['--version'], {})).stdout).toBe(`velero-plugin-datamover ${version}\n`);
  });

  test('--install copies it, executable and whole', async () => {
    const target = join(directory, 'velero-plugin-datamover');
    expect((await byHand(['--install', directory], {})).stdout).toBe(`${target}\n`);
    expect(statSync(target).mode & 0o777).toBe(0o755);
    expect(readFileSync(target).equals(readFileSync(file))).toBe(true);
    // Once more over the first, as when a pod starts again.
    expect((await byHand([`--install=${directory}`], {})).status).toBe(0);
    await rm(target);
  });

  test('--install says where it cannot', async () => {
    const { status, stderr } = await byHand(['--install', '/nowhere'], {});
    expect(status).toBe(1);
    expect(stderr).toBe('velero-plugin-datamover: install into /nowhere: there is no such directory\n');
  });
});

describePeer('openssl', 'AutoMTLS', (openssl) => {
  test('the host’s certificate is asked for, and ours stands for localhost', async () => {
    const [key, certificate] = [join(directory, 'host.key'), join(directory, 'host.crt')];
    await run({
      file: openssl.file,
      args: [
        ...['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '2'],
        ...['-subj', '/CN=localhost', '-addext', 'extendedKeyUsage=serverAuth,clientAuth'],
        ...['-keyout', key, '-out', certificate],
      ],
    });
    const PLUGIN_CLIENT_CERT = await readFile(certificate, 'utf8');
    let ours = '';
    const tls = (keys: readonly [Buffer, Buffer] | readonly []) => (base64: string) => {
      expect(base64).toMatch(/^[A-Za-z0-9+/]{200,}$/);
      ours = `-----BEGIN CERTIFICATE-----\n${base64}${'='.repeat(-base64.length & 3)}\n-----END CERTIFICATE-----\n`;
      return credentials.createSsl(Buffer.from(ours), ...keys);
    };
    const name = { 'grpc.ssl_target_name_override': 'localhost' };
    const known = await plugin({
      env: { PLUGIN_CLIENT_CERT },
      credentials: tls([readFileSync(key), readFileSync(certificate)]),
      channel: name,
    });
    expect(await known.call(health.Check, { service: 'plugin' })).toEqual({ status: 1 });
    const stranger = await plugin({ env: { PLUGIN_CLIENT_CERT }, credentials: tls([]), channel: name });
    await expect(stranger.call(health.Check, { service: 'plugin' })).rejects.toThrow(/UNAVAILABLE/);

    const pem = join(directory, 'plugin.crt');
    await writeFile(pem, ours);
    const { stdout } = await run({
      file: openssl.file,
      args: [
        'verify',
        '-x509_strict',
        '-purpose',
        'sslserver',
        '-verify_hostname',
        'localhost',
        '-CAfile',
        pem,
        pem,
      ],
    });
    expect(stdout).toContain('OK');
  });
});
