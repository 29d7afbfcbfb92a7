import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from '@grpc/grpc-js';
import { start } from '../datamover/process/spawn.ts';
import { serviceDefinition } from '../proto/service.ts';
import { pluginExecutable, samplePlugin } from './testing/executable.ts';
import { connect, HOST_ENV, type Connected, type HostOptions } from './testing/host.ts';

const health = serviceDefinition('grpc.health.v1.Health');
const lister = serviceDefinition('generated.PluginLister');
const action = serviceDefinition('v2.BackupItemAction');
const store = serviceDefinition('generated.ObjectStore');
const broker = serviceDefinition('plugin.GRPCBroker');
const stdio = serviceDefinition('plugin.GRPCStdio');

let executable: string;
let open: Connected[] = [];

beforeAll(async () => {
  executable = await pluginExecutable();
}, 120_000);
afterEach(async () => {
  for (const { client, process } of open) {
    client.close();
    await process.stop();
  }
  open = [];
});

async function plugin(options: Partial<HostOptions> = {}): Promise<Connected> {
  const connected = await connect({ ...samplePlugin(), ...options });
  open.push(connected);
  return connected;
}

const NAME = 'datamover.io/sample';
const backup = json({ metadata: { name: 'nightly', namespace: 'velero' }, spec: {}, status: {} });

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function item(wish: string, more: object = {}): Buffer {
  return json({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'a', annotations: { wish } },
    ...more,
  });
}

describe('the executable as it is shipped', () => {
  test('lists itself by its absolute path, each name once', async () => {
    const { call } = await plugin({ file: executable, args: [] });
    const { plugins } = await call(lister.ListPlugins, {});
    expect(new Set(plugins.map(({ command }) => command)).size).toBeLessThan(2);
    for (const { command, kind, name } of plugins) {
      expect(command).toBe(executable);
      expect(kind).toMatch(/^(ObjectStore|(Backup|Restore)ItemAction(V2)?|DeleteItemAction)$/);
      expect(name).toMatch(/^datamover\.io\/[a-z0-9-]+$/);
    }
    expect(new Set(plugins.map(({ kind, name }) => `${kind} ${name}`)).size).toBe(plugins.length);
  });

  test('broker and stdio streams stay open and silent until the host ends them', async () => {
    const { client, call, end } = await plugin({ file: executable, args: [] });
    const brokers = client.makeBidiStreamRequest(
      ...([broker.StartStream.path, broker.StartStream.requestSerialize] as const),
      broker.StartStream.responseDeserialize,
    );
    const output = client.makeServerStreamRequest(
      ...([stdio.StreamStdio.path, stdio.StreamStdio.requestSerialize] as const),
      ...([stdio.StreamStdio.responseDeserialize, {}] as const),
    );
    const heard: unknown[] = [];
    for (const stream of [brokers, output]) {
      stream.on('data', (message) => heard.push(message));
      stream.on('end', () => heard.push('end'));
      stream.on('error', () => undefined);
    }
    brokers.write({ service_id: 1, network: 'unix', address: '/x', knock: null });
    // A round trip behind them on the same connection: an end would have come before its answer.
    expect(await call(health.Check, { service: 'plugin' })).toEqual({ status: 1 });
    expect(heard).toEqual([]);
    expect(await end()).toEqual([]);
  });

  test('a service that nobody knows is not serving', async () => {
    const { call } = await plugin({ file: executable, args: [] });
    await expect(call(health.Check, { service: 'other' })).rejects.toThrow(
      'there is no service "other" here',
    );
  });

  test('garbage on the socket hurts nobody else', async () => {
    const { socket, call, end } = await plugin({ file: executable, args: [] });
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const nonsense = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(100_000, 0xff),
      // A whole preface, then a frame that says it is 16 MiB long.
      Buffer.concat([preface, Buffer.from('ffffff0100ffffffff', 'hex'), Buffer.alloc(1000)]),
      preface.subarray(0, 10),
    ];
    for (const bytes of nonsense) {
      const connection = createConnection(socket);
      await once(connection, 'connect');
      connection.on('error', () => undefined);
      connection.resume();
      const closed = once(connection, 'close');
      connection.end(bytes);
      await Promise.race([closed, delay(200)]);
      connection.destroy();
    }
    expect(await call(health.Check, { service: 'plugin' })).toEqual({ status: 1 });
    expect(await end()).toEqual([]);
  });

  test('two hosts have two processes that know nothing of each other', async () => {
    const [one, two] = await Promise.all([
      plugin({ file: executable, args: [] }),
      plugin({ file: executable, args: [] }),
    ]);
    expect(one.socket).not.toBe(two.socket);
    await one.end();
    expect(await two.call(health.Check, { service: 'plugin' })).toEqual({ status: 1 });
  });

  test('it ends when its host was killed', async () => {
    const script = `
      const { spawn } = require('node:child_process');
      const child = spawn(process.argv[1], [], { stdio: ['ignore', 'pipe', 'ignore'] });
      child.stdout.once('data', () => process.stdout.write(child.pid + '\\n'));`;
    const host = await start({ file: process.execPath, args: ['-e', script, executable], env: HOST_ENV });
    const ended = host.finished.catch(() => 'killed');
    const [line] = (await once(createInterface({ input: host.stdout }), 'line')) as [string];
    const pid = Number(line);
    expect(await isRunning(pid)).toBe(true);
    process.kill(host.pid, 'SIGKILL');
    expect(await ended).toBe('killed');
    const deadline = Date.now() + 10_000;
    while ((await isRunning(pid)) && Date.now() < deadline) await delay(50);
    expect(await isRunning(pid)).toBe(false);
  });
});

async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // A zombie has ended: nobody has asked for its status yet.
  return stat !== '' && !stat.includes(') Z ');
}

describe('actions on the wire', () => {
  test('AppliesTo is the action’s selector', async () => {
    const { call } = await plugin();
    expect(await call(action.AppliesTo, { plugin: NAME })).toEqual({
      ResourceSelector: {
        ...{ includedNamespaces: [], excludedNamespaces: [], excludedResources: [] },
        ...{ includedResources: ['configmaps'], selector: 'app=sample' },
      },
    });
  });

  test('Execute gives item, further items and an operation', async () => {
    const { call } = await plugin();
    const answer = await call(action.Execute, { plugin: NAME, item: item('change'), backup });
    expect(JSON.parse(answer.item.toString())).toEqual({
      ...{ apiVersion: 'v1', kind: 'ConfigMap' },
      metadata: { name: 'a', annotations: { wish: 'change', backup: 'nightly' } },
    });
    expect(answer.additionalItems).toEqual([{ group: '', resource: 'secrets', namespace: 'a', name: 'b' }]);
    expect(answer.operationID).toBe('op-1');
    expect(answer.postOperationItems).toEqual([{ group: 'g', resource: 'r', namespace: '', name: 'n' }]);
  });

  test('an item that stays as it is comes back byte for byte', async () => {
    const { call } = await plugin();
    const odd = Buffer.from(
      '{"kind":"X", "apiVersion":"v1","metadata":{"name":"a","annotations":{"wish":"same"}},"n":12345678901234567890}\n',
    );
    const answer = await call(action.Execute, { plugin: NAME, item: odd, backup });
    expect(answer.item.equals(odd)).toBe(true);
    expect(answer.operationID).toBe('');
  });

  test('an item of 32 MiB goes both ways', async () => {
    const { call } = await plugin();
    const big = item('change', { data: { blob: 'x'.repeat(32 << 20) } });
    const answer = await call(action.Execute, { plugin: NAME, item: big, backup });
    expect(answer.item.length).toBeGreaterThan(big.length);
    expect(answer.item.toString('latin1', answer.item.length - 10)).toBe('xxxxxxx"}}');
  });

  test('a hundred calls at once have a hundred answers', async () => {
    const { call } = await plugin();
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        call(action.Execute, { plugin: NAME, item: item('change', { n }), backup }),
      ),
    );
    const numbers = answers.map(({ item }) => (JSON.parse(item.toString()) as { n: number }).n);
    expect(numbers).toEqual(Array.from({ length: 100 }, (_, n) => n));
  });

  test('a failure is one sentence on one line', async () => {
    const { call } = await plugin();
    const failing = call(action.Execute, { plugin: NAME, item: item('fail'), backup });
    await expect(failing).rejects.toMatchObject({
      code: 2,
      details: 'read volume data/pvc-1: no such image',
    });
  });

  test.each([
    [Buffer.from('{'), /^the item that Velero sent is not JSON: /],
    [Buffer.alloc(0), /^the item that Velero sent is not JSON: /],
    [json([]), /^the item that Velero sent is no Kubernetes object with a name$/],
    [json({ apiVersion: 'v1', kind: 'X' }), /no Kubernetes object/],
  ])('what is no item is refused: %s', async (bytes, details) => {
    const { call } = await plugin();
    await expect(call(action.Execute, { plugin: NAME, item: bytes, backup })).rejects.toMatchObject({
      details: expect.stringMatching(details),
    });
  });

  test('a name that is not registered is refused', async () => {
    const { call } = await plugin();
    const failing = call(action.Execute, { plugin: 'datamover.io/other', item: item(''), backup });
    await expect(failing).rejects.toThrow('there is no BackupItemActionV2 named "datamover.io/other"');
  });

  test('a call that takes longer than its limit is given up, and others go on', async () => {
    const { call } = await plugin();
    const hanging = call(action.Execute, { plugin: NAME, item: item('hang'), backup });
    const answered = call(action.Execute, { plugin: NAME, item: item('same'), backup });
    await expect(hanging).rejects.toThrow('datamover.io/sample took longer than 2 seconds');
    expect((await answered).operationID).toBe('');
  });

  test('progress is whole, and a passing hindrance is "not yet"', async () => {
    const { call } = await plugin();
    const ask = async (operationID: string) =>
      (await call(action.Progress, { plugin: NAME, operationID, backup })).progress;
    const unset = { seconds: -62_135_596_800, nanos: 0 };
    const bytes = { nCompleted: 5e12, nTotal: 6e12, operationUnits: 'Bytes', description: 'Uploading' };
    const times = { started: { seconds: 1, nanos: 500_000_000 }, updated: unset };
    expect(await ask('op-1')).toEqual({ completed: false, err: '', ...bytes, ...times });
    expect(await ask('done')).toEqual({ completed: true, err: '', ...bytes, ...times });
    expect(await ask('away')).toMatchObject({
      ...{ completed: false, err: '', description: 'the API server is away' },
      ...{ started: unset, updated: unset },
    });
    expect(await ask('failed')).toMatchObject({
      ...{ completed: true, err: 'the operation failed and gave no reason' },
    });
    await expect(ask('unknown')).rejects.toThrow('there is no operation unknown');
  });

  test('cancel reaches the action', async () => {
    const { call } = await plugin();
    expect(await call(action.Cancel, { plugin: NAME, operationID: 'op-1', backup })).toEqual({});
    const other = call(action.Cancel, { plugin: NAME, operationID: 'op-2', backup });
    await expect(other).rejects.toThrow('there is no operation op-2');
  });
});

describe('logs', () => {
  const KNOWN = new Set(['trace', 'debug', 'info', 'warn', 'error']);

  async function logOf(wish: string, args: string[] = []): Promise<Record<string, unknown>[]> {
    const sample = samplePlugin();
    const { call, end } = await plugin({ ...sample, args: [...sample.args, ...args] });
    await call(action.Execute, { plugin: NAME, item: item(wish), backup });
    const lines = await end();
    for (const line of lines) expect(line.length).toBeLessThan(64 * 1024);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  test('every line is what hclog reads, and none can make the server panic', async () => {
    const entries = await logOf('log', ['--log-level', 'debug']);
    for (const entry of entries) {
      expect(typeof entry['@message']).toBe('string');
      expect(KNOWN.has(String(entry['@level']))).toBe(true);
      expect(entry).not.toHaveProperty('@timestamp');
      expect(entry).not.toHaveProperty('level');
      for (const key of ['namespace', 'name', 'resource']) expect(typeof (entry[key] ?? '')).toBe('string');
    }
    expect(entries[0]).toEqual({
      ...{ '@level': 'warn', '@message': 'careful', action: NAME, namespace: '7' },
      ...{ pvc: '{"name":"a"}', cause: 'why' },
    });
    const messages = entries.map((entry) => String(entry['@message']));
    expect(messages).toContain('a library speaks {"of":"something"}');
    expect(messages.some((message) => message.endsWith('…'))).toBe(true);
    expect(entries.filter((entry) => entry['@level'] === 'error')).toEqual([]);
  });

  test('below the server’s level nothing is written, and info is the level of a server that says none', async () => {
    expect((await logOf('log')).map((entry) => entry['@level'])).toEqual(['warn']);
    expect(await logOf('log', ['--log-level=error'])).toEqual([]);
  });

  test('a bug in an action ends the process with one error line', async () => {
    const { call, process } = await plugin();
    await call(action.Execute, { plugin: NAME, item: item('crash'), backup }).catch(() => undefined);
    await expect(process.finished).rejects.toThrow('"@message":"the plugin ends: a bug"');
  });
});

describe('the object store on the wire', () => {
  const MEMORY = 'datamover.io/memory';
  const place = { plugin: MEMORY, bucket: 'b', key: 'k' };

  async function stored(): Promise<Connected> {
    const connected = await plugin();
    await connected.call(store.Init, { plugin: MEMORY, config: { bucket: 'b' } });
    return connected;
  }

  function put(client: Client, bodies: readonly Buffer[], key = 'k') {
    const method = store.PutObject;
    let settle: { resolve: () => void; reject: (error: Error) => void };
    const done = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
    const call = client.makeClientStreamRequest(
      ...([method.path, method.requestSerialize, method.responseDeserialize] as const),
      (error) => (error === null ? settle.resolve() : settle.reject(error)),
    );
    for (const body of bodies) call.write({ ...place, key, body });
    return { call, done };
  }

  async function get(client: Client, key = 'k'): Promise<Buffer> {
    const method = store.GetObject;
    const call = client.makeServerStreamRequest(
      ...([method.path, method.requestSerialize, method.responseDeserialize] as const),
      { ...place, key },
    );
    const parts: Buffer[] = [];
    for await (const { data } of call as AsyncIterable<{ data: Buffer }>) parts.push(data);
    return Buffer.concat(parts);
  }

  test('objects stream in and out', async () => {
    const { client, call } = await stored();
    const bodies = Array.from({ length: 300 }, (_, n) => Buffer.alloc(16384, n));
    const upload = put(client, bodies);
    upload.call.end();
    await upload.done;
    expect((await get(client)).equals(Buffer.concat(bodies))).toBe(true);
    expect(await call(store.ObjectExists, place)).toEqual({ exists: true });
    expect(await call(store.CreateSignedURL, { ...place, ttl: 600e9 })).toEqual({
      url: 'memory:b/k?for=600',
    });
  });

  test('an empty object is one message without a body', async () => {
    const { client } = await stored();
    const upload = put(client, [Buffer.alloc(0)]);
    upload.call.end();
    await upload.done;
    expect(await get(client)).toHaveLength(0);
  });

  test('an upload that the host breaks off is no object', async () => {
    const { client, call } = await stored();
    const upload = put(client, [Buffer.alloc(16384, 1), Buffer.alloc(16384, 2)]);
    await call(store.ObjectExists, place);
    upload.call.cancel();
    await expect(upload.done).rejects.toThrow(/CANCELLED/);
    expect(await call(store.ObjectExists, place)).toEqual({ exists: false });
  });

  test('a download that breaks is an error, not a short object', async () => {
    const { client } = await stored();
    const upload = put(client, [Buffer.alloc(100, 1)], 'breaks');
    upload.call.end();
    await upload.done;
    await expect(get(client, 'breaks')).rejects.toMatchObject({ code: 2, details: 'the connection broke' });
    await expect(get(client, 'other')).rejects.toMatchObject({ details: 'there is no object other' });
  });

  test('nothing is answered before Init', async () => {
    const { call } = await plugin();
    await expect(call(store.ObjectExists, place)).rejects.toThrow(/before it was initialized/);
  });
});
