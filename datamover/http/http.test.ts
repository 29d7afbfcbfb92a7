import { afterEach, describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { parseListenAddress } from './address.ts';
import {
  makeRegistry,
  MOST_SERIES,
  registerClusterMetrics,
  TransferMetrics,
  type ClusterState,
} from './metrics.ts';
import { serve, type Health, type HttpServer } from './server.ts';

let server: HttpServer | undefined;
let health: { live: Health; ready: Health };
afterEach(() => server?.close());

async function start(registry = makeRegistry('agent', '1.2.3')): Promise<string> {
  health = { live: undefined, ready: 'its caches are not filled yet' };
  server = await serve({
    ...{ address: parseListenAddress('127.0.0.1:0'), registry },
    live: () => health.live,
    ready: () => health.ready,
  });
  return `http://127.0.0.1:${server.port}`;
}

const get = async (url: string, method = 'GET') => {
  const response = await fetch(url, { method });
  return { status: response.status, text: await response.text() };
};

describe('the HTTP server', () => {
  test('tells life and readiness apart, each with its reason', async () => {
    const url = await start();
    expect(await get(`${url}/livez`)).toEqual({ status: 200, text: 'ok\n' });
    expect(await get(`${url}/readyz`)).toEqual({ status: 503, text: 'its caches are not filled yet\n' });
    health = { live: 'the queue stands still', ready: undefined };
    expect(await get(`${url}/livez?verbose`)).toEqual({ status: 503, text: 'the queue stands still\n' });
    expect(await get(`${url}/readyz`)).toMatchObject({ status: 200 });
  });

  test('does nothing else', async () => {
    const url = await start();
    expect(await get(`${url}/`)).toMatchObject({ status: 404 });
    expect(await get(`${url}/../etc/passwd`)).toMatchObject({ status: 404 });
    expect(await get(`${url}/livez`, 'POST')).toMatchObject({ status: 405 });
  });

  test('a second one at the same address is refused in a sentence', async () => {
    await start();
    const address = { host: '127.0.0.1', port: server?.port ?? 0 };
    const second = serve({
      address,
      registry: makeRegistry('agent', ''),
      live: () => undefined,
      ready: () => undefined,
    });
    await expect(second).rejects.toThrow(/^listen on 127\.0\.0\.1:\d+: .*EADDRINUSE.*--http-address/);
  });
});

describe('addresses', () => {
  test.each([
    [':8080', { port: 8080 }],
    ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
    ['[::1]:9', { host: '::1', port: 9 }],
    ['localhost:65535', { host: 'localhost', port: 65_535 }],
  ])('%s', (text, address) => expect(parseListenAddress(text)).toEqual(address));

  test.each(['8080', ':', ':65536', '::1:80', 'a b', 'http://a:80', ''])('%p is none', (text) =>
    expect(() => parseListenAddress(text)).toThrow(DatamoverError),
  );
});

describe('metrics', () => {
  test("count an agent's transfers", async () => {
    const registry = makeRegistry('agent', '1.2.3');
    const metrics = new TransferMetrics(registry);
    const backup = { operation: 'backup', driver: 'zfs', seconds: 7 } as const;
    metrics.running('backup', 2);
    metrics.ended({ ...backup, outcome: 'completed', bytes: { read: 10, uploaded: 4, changed: undefined } });
    metrics.ended({ ...backup, outcome: 'failed', reason: 'StoreUnavailable', bytes: { read: 99 } });
    metrics.ended({ ...backup, outcome: 'canceled' });
    const { text } = await get(`${await start(registry)}/metrics`);
    const ours = text
      .split('\n')
      .filter((line) => line.startsWith('datamover_transfer') && !line.includes('_bucket'));
    expect(ours).toEqual([
      'datamover_transfers_total{operation="backup",driver="zfs",outcome="completed"} 1',
      'datamover_transfers_total{operation="backup",driver="zfs",outcome="failed"} 1',
      'datamover_transfers_total{operation="backup",driver="zfs",outcome="canceled"} 1',
      'datamover_transfer_failures_total{operation="backup",reason="StoreUnavailable"} 1',
      'datamover_transfer_bytes_total{operation="backup",driver="zfs",kind="read"} 10',
      'datamover_transfer_bytes_total{operation="backup",driver="zfs",kind="uploaded"} 4',
      'datamover_transfer_duration_seconds_sum{operation="backup",driver="zfs"} 7',
      'datamover_transfer_duration_seconds_count{operation="backup",driver="zfs"} 1',
      'datamover_transfers_running{operation="backup"} 2',
      'datamover_transfers_running{operation="restore"} 0',
    ]);
    expect(text).toContain('datamover_build_info{component="agent",version="1.2.3"} 1');
    expect(text).toMatch(/^process_resident_memory_bytes \d/m);
  });

  test('of the cluster are what the objects say at each scrape', async () => {
    const registry = makeRegistry('controller', '1');
    let state: ClusterState = {
      queue: [{ operation: 'backup', state: 'queued', count: 3 }],
      ended: [{ operation: 'restore', phase: 'Failed', count: 1 }],
      lastSuccess: [{ namespace: 'shop', claim: 'db', at: 1_700_000_000 }],
      repositories: [{ target: 'velero/main', scope: 'shop', bytes: 5 }],
    };
    registerClusterMetrics(registry, () => state);
    const told = async () =>
      (await registry.metrics()).split('\n').filter((line) => /^datamover_(?!build)/.test(line));
    expect(await told()).toEqual([
      'datamover_queue_length{operation="backup",state="queued"} 3',
      'datamover_objects{operation="restore",phase="Failed"} 1',
      'datamover_volume_last_success_timestamp_seconds{namespace="shop",claim="db"} 1700000000',
      'datamover_repository_bytes{target="velero/main",scope="shop"} 5',
      'datamover_series_left_out 0',
    ]);
    state = { queue: [], ended: [], lastSuccess: [], repositories: [] };
    expect(await told()).toEqual(['datamover_series_left_out 0']);
  });

  test('of many claims the ones without a backup for the longest time are told', async () => {
    const registry = makeRegistry('controller', '1');
    const lastSuccess = Array.from({ length: MOST_SERIES + 3 }, (_, at) => ({
      ...{ namespace: 'n', claim: `c${at}` },
      at,
    })).reverse();
    registerClusterMetrics(registry, () => ({ queue: [], ended: [], lastSuccess, repositories: [] }));
    const lines = (await registry.metrics()).split('\n');
    const told = lines.filter((line) => line.startsWith('datamover_volume_last_success_timestamp_seconds{'));
    expect(told).toHaveLength(MOST_SERIES);
    expect(told[0]).toContain('claim="c0"');
    expect(lines).toContain('datamover_series_left_out 3');
  });
});
