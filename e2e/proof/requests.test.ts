import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { noise } from '../../datamover/repository/testing/bytes.ts';
import { writeImage } from '../../datamover/transfer/testing/volumes.ts';
import { describePeer } from '../servers/describe-peers.ts';
import { startMinio } from '../servers/minio.ts';
import { CountingProxy, type CountedRequest } from './counting-proxy.ts';
import { hashOf, Site, VOLUME } from './site.ts';

jest.setTimeout(180_000);

const MIB = 1 << 20;
const IMAGE_MIB = 150;
const PACK = 16 * MIB;
/** At most; each ends with a pack that is not full. */
const WORKERS = 4;

interface Counts {
  readonly lists: number;
  readonly heads: number;
  readonly gets: number;
  readonly removes: number;
  /** Bodies of packs that were stored. */
  readonly packs: readonly number[];
  readonly sent: number;
}

function count(requests: readonly CountedRequest[]): Counts {
  const number = (wanted: (request: CountedRequest) => boolean): number => requests.filter(wanted).length;
  return {
    lists: number(({ isList }) => isList),
    heads: number(({ method }) => method === 'HEAD'),
    gets: number(({ method, isList }) => method === 'GET' && !isList),
    removes: number(({ method }) => method === 'DELETE'),
    packs: requests
      .filter(({ method, key }) => method === 'PUT' && key.includes('/data/'))
      .map(({ sent }) => sent),
    sent: requests.reduce((sum, { sent }) => sum + sent, 0),
  };
}

describePeer('minio', 'requests of a backup to MinIO', () => {
  let proxy: CountingProxy;
  let site: Site;
  let image: string;
  beforeAll(async () => {
    proxy = await CountingProxy.before(await startMinio());
    site = await Site.inBucket('requests', proxy.endpoint);
    await site.init();
    image = await writeImage(site.path('image'), IMAGE_MIB * MIB, [
      { offset: 0, content: noise('requests', IMAGE_MIB * MIB) },
    ]);
  });
  afterAll(async () => {
    await site.remove();
    await proxy.close();
  });

  async function counted(job: () => Promise<unknown>): Promise<Counts> {
    proxy.take();
    await job();
    return count(proxy.take());
  }

  test('a first one: at most 3 LIST, no HEAD per blob, objects of about 16 MiB', async () => {
    const { lists, heads, gets, removes, packs, sent } = await counted(() => site.backUp(image));
    expect(lists).toBeLessThanOrEqual(3);
    expect(heads).toBe(0);
    // Config, key; perhaps once more after a redirect.
    expect(gets).toBeLessThanOrEqual(4);
    // The lock.
    expect(removes).toBe(1);
    const [small, full] = [packs.filter((bytes) => bytes < PACK), packs.filter((bytes) => bytes >= PACK)];
    expect(full.length).toBeGreaterThanOrEqual(Math.floor((IMAGE_MIB - WORKERS * 16) / 17));
    for (const bytes of full) expect(bytes).toBeLessThan(PACK + 1.1 * MIB);
    // What each worker had left over, the trees, and volume.json.
    expect(small.length).toBeLessThanOrEqual(WORKERS + 2);
    expect(sent).toBeLessThan(IMAGE_MIB * MIB * 1.001);
  });

  test('an unchanged one: at most 3 LIST, no HEAD, no packs but what tells of it', async () => {
    const { lists, heads, gets, packs, sent } = await counted(() => site.backUp(image));
    expect(lists).toBeLessThanOrEqual(3);
    expect(heads).toBe(0);
    // Config, key, index, the parent's snapshot, and what that has of the image: two trees above the segment's, it, and its fingerprints.
    expect(gets).toBeLessThanOrEqual(12);
    expect(packs).toEqual([]);
    expect(sent).toBeLessThan(10_000);
  });

  test('one with changes: only these travel', async () => {
    await writeImage(image, IMAGE_MIB * MIB, [
      { offset: 10 * MIB + 5, content: noise('one', 100) },
      { offset: 99 * MIB, content: noise('two', 3 * MIB) },
    ]);
    const { lists, heads, packs, sent } = await counted(() => site.backUp(image));
    expect(lists).toBeLessThanOrEqual(3);
    expect(heads).toBe(0);
    expect(packs.length).toBeLessThanOrEqual(WORKERS + 2);
    expect(sent).toBeGreaterThan(4 * MIB);
    expect(sent).toBeLessThan(4 * MIB + 50_000);
  });

  test('a restore asks for ranges of several blobs, not for each', async () => {
    const target = site.path('restored');
    const { lists, heads, gets } = await counted(() =>
      site.datamover(['restore', 'latest', '--volume', VOLUME, '--to', `file:${target}`]),
    );
    expect(await hashOf(target)).toBe(await hashOf(image));
    expect(lists).toBeLessThanOrEqual(3);
    expect(heads).toBe(0);
    expect(gets).toBeLessThan(IMAGE_MIB / 2);
  });

  test('snapshots: at most 3 LIST, a request for each snapshot at most', async () => {
    const { lists, heads, gets } = await counted(() => site.json(['snapshots']));
    expect(lists).toBeLessThanOrEqual(3);
    expect(heads).toBe(0);
    expect(gets).toBeLessThan(3 + 4 * 3);
  });
});
