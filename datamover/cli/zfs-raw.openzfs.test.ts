import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { buffer } from 'node:stream/consumers';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startOpenZfs, type OpenZfs } from '../../e2e/servers/openzfs.ts';
import { sent } from '../volumes/zfs/testing/sending.ts';
import type { BackupRecord } from './storage.suite.ts';
import { Workbench } from './testing/command.ts';
import { inDataset, LISTING } from './testing/datasets.ts';

const PATIENCE = 600_000;
const KEY = '/tmp/raw-command-key';

describePeer('openzfs', 'raw backups of encrypted datasets through the command', () => {
  let zfs: OpenZfs;
  let bench: Workbench;
  let home: string;
  let source: string;
  let files: string;
  let streams: Buffer[];

  const env = (): Record<string, string> => ({ ...zfs.environment });
  const shell = (dataset: string, script: string): Promise<string> => inDataset(zfs, dataset, script);
  const backUp = async (snapshot: string, ...more: string[]): Promise<BackupRecord> => {
    const args = ['backup', `zfs:${snapshot}`, '--volume', 'shop/secret', ...more];
    return (await bench.json(args, { env: env() })).at(-1) as BackupRecord;
  };

  beforeAll(async () => {
    bench = await Workbench.create();
    zfs = await startOpenZfs();
    home = `${zfs.pool}/raw-command`;
    source = `${home}/source`;
    await zfs.run('sh', '-c', `echo long-enough-passphrase > ${KEY}`);
    const key = ['-o', 'encryption=on', '-o', 'keyformat=passphrase', '-o', `keylocation=file://${KEY}`];
    await zfs.zfs('create', '-p', ...key, source);
    await bench.json(['init']);
    await shell(source, 'for i in $(seq 9); do head -c $((i * 9000)) /dev/urandom > f$i; done');
    await zfs.zfs('snapshot', `${source}@one`);
    await shell(source, 'rm f3; head -c 100000 /dev/urandom > g; chmod 741 f4');
    await zfs.zfs('snapshot', `${source}@two`);
    files = await shell(source, LISTING);
    await zfs.zfs('unmount', source);
    await zfs.zfs('unload-key', source);
    streams = [await sent(zfs, '-w', `${source}@one`), await sent(zfs, '-w', '-i', '@one', `${source}@two`)];
  }, PATIENCE);
  afterAll(async () => {
    await zfs.zfs('destroy', '-R', home);
    await zfs.stop();
    await bench.remove();
  }, PATIENCE);

  test(
    'need no key, go out bit for bit as they were sent, and come back with the key that they had',
    async () => {
      const refused = await bench.run(['backup', `zfs:${source}@one`, '--volume', 'shop/secret'], {
        env: env(),
      });
      expect([refused.status, refused.stderr]).toEqual([1, expect.stringMatching(/its key is not loaded/)]);
      const first = await backUp(`${source}@one`, '--raw');
      const second = await backUp(`${source}@two`, '--raw');
      expect(second).toMatchObject({ format: 'stream', base: first.snapshot_id, warnings: [] });

      const [listed] = await bench.json(['restore', second.snapshot_id, '--list']);
      expect(listed).toMatchObject(
        streams.map((stream, number) => ({
          number,
          bytes: stream.length,
          features: expect.anything(),
        })),
      );
      const piped = await bench.start(['restore', second.snapshot_id, '--to', '-', '--as', 'zfs']);
      const out = await buffer(piped.stdout);
      await piped.finished;
      expect(out.equals(Buffer.concat(streams))).toBe(true);

      const target = `${home}/restored`;
      await bench.json(['restore', second.snapshot_id, '--to', `zfs:${target}`], { env: env() });
      const state = await zfs.zfs('get', '-Hpo', 'value', 'encryption,keystatus', target);
      expect(state.trim().split('\n')).toEqual(['aes-256-gcm', 'unavailable']);
      await zfs.zfs('load-key', '-L', `file://${KEY}`, target);
      expect(await shell(target, LISTING)).toBe(files);
    },
    PATIENCE,
  );
});
