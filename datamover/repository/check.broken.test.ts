/* Long, for it is one table: each way to break a repository, with what we and restic say of it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatamoverError } from '../errors.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { checkRepository } from './check.ts';
import type { CheckReport } from './check-report.ts';
import { encodeIndexFile } from './index-file.ts';
import { encodeLock, newLock, type Lock } from './lock.ts';
import type { Repository } from './repository.ts';
import { executeRepairIndex, planRepairIndex } from './repair-index.ts';
import type { BlobType, Id } from './types.ts';
import { makeWithRestic, openLocal, Scratch } from './testing/maintenance.ts';
import { Restic } from './testing/restic.ts';

/** What a check says: `clean`; `untidy`: exit 0 with remarks; `damaged`; or how it failed to begin. */
type Outcome = 'clean' | 'untidy' | 'damaged' | 'failed' | 'locked' | 'wrong password';

/** The repository that is broken: its folder, and what lies in it. */
interface Victim {
  readonly path: string;
  readonly repository: Repository;
  /** A pack with this kind of blobs that the newest snapshot needs. */
  readonly pack: (type: BlobType) => Promise<string>;
}

interface Case {
  /** Makes the damage. */
  readonly harm: (victim: Victim) => Promise<void>;
  readonly ours: Outcome;
  /** It is about locks: restic takes one too. Elsewhere it takes none, and two of them check at once. */
  readonly locks?: boolean;
  /** A sentence that must be among ours. */
  readonly says?: RegExp;
  /** Restic's verdict; the same as ours without it. Several where it depends on chance. */
  readonly restic?: Outcome | readonly Outcome[];
  readonly oldRestic?: Outcome;
  /** With --read-data, where that sees more. */
  readonly reading?: { readonly ours: Outcome; readonly says: RegExp };
  /** What our check and restic's say after `repair index`; not tried without it. */
  readonly repaired?: Outcome;
}

const CASES: Readonly<Record<string, Case>> = {
  'nothing is wrong': { harm: async () => undefined, ours: 'clean', repaired: 'clean' },

  'all index files are missing': {
    harm: async ({ path }) => {
      for (const name of files(path, 'index')) await rm(join(path, 'index', name));
    },
    ours: 'damaged',
    says: /snapshot [0-9a-f]{8}:\/ is lost: .*no index file names it/,
    repaired: 'clean',
  },
  'one index file is missing': {
    harm: async ({ path }) => rm(join(path, 'index', files(path, 'index')[0] ?? '')),
    ours: 'damaged',
    repaired: 'clean',
  },
  'an index file is cut short': {
    harm: async ({ path }) => truncate(join(path, 'index', files(path, 'index')[0] ?? ''), 100),
    ours: 'damaged',
    says: /index file [0-9a-f]{8}: its 100 bytes do not have the SHA-256/,
    repaired: 'clean',
  },
  'an index file is empty, as after a power cut': {
    harm: async ({ path }) => truncate(join(path, 'index', files(path, 'index')[0] ?? ''), 0),
    ours: 'damaged',
    repaired: 'clean',
  },
  'a bit of an index file is flipped': {
    harm: async ({ path }) => flip(join(path, 'index', files(path, 'index')[0] ?? ''), 40),
    ours: 'damaged',
    says: /index file [0-9a-f]{8}: .*SHA-256/,
    repaired: 'clean',
  },
  'two index files list the same packs': {
    harm: async ({ repository }) => {
      for await (const { file } of repository.indexFiles()) {
        await repository.saveFile('index', encodeIndexFile({ packs: file.packs, supersedes: [randomId()] }));
        break;
      }
    },
    ours: 'untidy',
    says: /lists packs that another index file lists too/,
    repaired: 'clean',
  },
  'an index file lists a pack that nobody has and nobody needs': {
    harm: async ({ repository }) => {
      const blob = { id: randomId(), type: 'data', offset: 0, length: 100, uncompressedLength: 0 } as const;
      await repository.saveFile('index', encodeIndexFile({ packs: [{ id: randomId(), blobs: [blob] }] }));
    },
    ours: 'damaged',
    says: /is missing; nothing in it is in use/,
    repaired: 'clean',
  },
  'the index places a blob wrongly': {
    harm: async ({ repository, path }) => {
      for await (const { id, file } of repository.indexFiles()) {
        const packs = file.packs.map((pack) => {
          // One of a file of five bytes and one of a large file: two of the same file would leave its size right.
          const data = pack.blobs.filter(({ type }) => type === 'data');
          const small = data.find(({ length }) => length < 100);
          const large = data.find(({ length }) => length > 10_000);
          if (small === undefined || large === undefined) return pack;
          const swapped = new Map([
            [small.id, large.id],
            [large.id, small.id],
          ]);
          const blobs = pack.blobs.map((blob) => ({ ...blob, id: swapped.get(blob.id) ?? blob.id }));
          return { ...pack, blobs };
        });
        if (packs.every((pack, i) => pack === file.packs[i])) continue;
        await repository.saveFile('index', encodeIndexFile({ packs }));
        await rm(join(path, 'index', id));
        return;
      }
      throw new Error('no pack with a small and a large blob');
    },
    // Two blobs of unlike size change places, so the sizes of files come out wrong; restic compares no sizes.
    ours: 'untidy',
    restic: 'clean',
    reading: { ours: 'damaged', says: /2 blobs are in its header alone/ },
  },

  'a data pack is missing': {
    harm: async ({ path, pack }) => rm(packPath(path, await pack('data'))),
    ours: 'damaged',
    says: /pack [0-9a-f]{64} is missing; \d+ blobs in use were in it/,
    repaired: 'damaged',
  },
  'a tree pack is missing': {
    harm: async ({ path, pack }) => rm(packPath(path, await pack('tree'))),
    ours: 'damaged',
    says: /is lost: /,
    repaired: 'damaged',
  },
  'a data pack is cut short': {
    harm: async ({ path, pack }) => truncateBy(packPath(path, await pack('data')), 1000),
    ours: 'damaged',
    says: /pack [0-9a-f]{64} has \d+ bytes instead of \d+; \d+ blobs in use were in it/,
    repaired: 'damaged',
  },
  'a pack is empty': {
    harm: async ({ path, pack }) => truncate(packPath(path, await pack('data')), 0),
    ours: 'damaged',
    says: /has 0 bytes instead of/,
  },
  'a bit of a data blob is flipped': {
    harm: async ({ path, pack }) => flip(packPath(path, await pack('data')), 1000),
    ours: 'clean',
    reading: { ours: 'damaged', says: /data blob [0-9a-f]{64} at byte \d+ is damaged/ },
  },
  'a bit of a tree is flipped': {
    harm: async ({ path, pack }) => flip(packPath(path, await pack('tree')), 20),
    ours: 'damaged',
    says: /is lost: .*message authentication code/,
    reading: { ours: 'damaged', says: /tree blob [0-9a-f]{64} at byte \d+ is damaged/ },
  },
  'a bit of a pack header is flipped': {
    harm: async ({ path, pack }) => flip(packPath(path, await pack('data')), -10),
    ours: 'clean',
    reading: { ours: 'damaged', says: /its header cannot be read: .*the message authentication code/ },
  },
  'a pack has a wrong name but sound blobs': {
    harm: async ({ path, pack }) => flip(packPath(path, await pack('data')), -5),
    ours: 'clean',
    reading: { ours: 'damaged', says: /do not have the SHA-256 that names it/ },
  },

  'an upload broke off: a pack that no index names': {
    harm: async ({ path, pack }) => {
      const name = randomId();
      await mkdir(join(path, 'data', name.slice(0, 2)), { recursive: true });
      await copyFile(packPath(path, await pack('data')), packPath(path, name));
      await truncateBy(packPath(path, name), 5000);
    },
    ours: 'untidy',
    says: /is in no index file/,
  },

  'a snapshot is cut short': {
    harm: async ({ path }) => truncate(join(path, 'snapshots', files(path, 'snapshots')[0] ?? ''), 50),
    ours: 'damaged',
    says: /snapshot [0-9a-f]{8}: its 50 bytes/,
    repaired: 'damaged',
  },
  'a bit of a snapshot is flipped': {
    harm: async ({ path }) => flip(join(path, 'snapshots', files(path, 'snapshots')[0] ?? ''), 30),
    ours: 'damaged',
  },
  'a file of restic is longer in its folder than its blobs are': {
    harm: ({ repository }) => saveLiar(repository, '2024-01-01T00:00:00Z'),
    ours: 'untidy',
    says: /liar has 5 bytes, its blobs have 4: it changed while it was backed up/,
    restic: 'clean',
  },
  'a file of ours is longer in its folder than its blobs are': {
    harm: ({ repository }) => saveLiar(repository, '1970-01-01T00:00:00Z'),
    ours: 'damaged',
    says: /liar has 5 bytes, its blobs have 4: it is damaged/,
    // Restic compares no sizes.
    restic: 'clean',
  },

  'a bit of the only key file is flipped': {
    harm: async ({ path }) => flip(join(path, 'keys', files(path, 'keys')[0] ?? ''), -20),
    ours: 'failed',
    says: /key [0-9a-f]{8}.*SHA-256/,
  },
  'a bit of another key file is flipped': {
    harm: async ({ path }) => {
      const name = randomId();
      await copyFile(join(path, 'keys', files(path, 'keys')[0] ?? ''), join(path, 'keys', name));
      await flip(join(path, 'keys', name), 30);
    },
    ours: 'damaged',
    says: /its password opens nothing any more/,
    // Restic looks at no other key once one opens; the current one gives up where it meets the damaged one first.
    restic: ['clean', 'failed'],
  },
  'a bit of the config is flipped': {
    harm: async ({ path }) => flip(join(path, 'config'), 30),
    ours: 'failed',
  },
  'the config is missing': { harm: async ({ path }) => rm(join(path, 'config')), ours: 'failed' },
  'all keys are missing': {
    harm: async ({ path }) => rm(join(path, 'keys', files(path, 'keys')[0] ?? '')),
    ours: 'failed',
    says: /not a single key file/,
  },

  'somebody else holds an exclusive lock': {
    harm: async ({ repository }) => foreignLock(repository, { exclusive: true }),
    ours: 'locked',
    says: /locked by process 4711 of root on elsewhere, exclusive/,
    locks: true,
    oldRestic: 'failed',
  },
  'somebody else holds a shared lock': {
    harm: async ({ repository }) => foreignLock(repository, { exclusive: false }),
    ours: 'clean',
    locks: true,
    // Restic's check wants to be alone.
    restic: 'locked',
    oldRestic: 'failed',
  },
};

describePeers(['restic-current', 'restic-debian'], 'broken repositories', (current, debian) => {
  let scratch: Scratch;

  beforeAll(async () => {
    scratch = await Scratch.create('broken');
    await makeWithRestic(scratch, current);
  }, 120_000);
  afterAll(() => scratch.remove());

  test.each(Object.entries(CASES))(
    '%s',
    async (name, expected) => {
      const path = await scratch.copy('repository', name.replace(/\W+/g, '-'));
      await harm(path, expected);
      const ours = await ourCheck(path, false);
      expect(ours).toEqual({ outcome: expected.ours, text: expect.stringMatching(expected.says ?? /^/) });
      const restics = [new Restic(current, path), new Restic(debian, path)] as const;
      const agreed = expected.restic ?? expected.ours;
      const lock = expected.locks === true ? [] : ['--no-lock'];
      const verdicts = await Promise.all(restics.map((restic) => resticCheck(restic, lock)));
      expect(verdicts).toEqual([agreed, expected.oldRestic ?? agreed].map(saying));
      if (expected.reading !== undefined) {
        const { says } = expected.reading;
        expect(await ourCheck(path, true)).toEqual({
          outcome: expected.reading.ours,
          text: expect.stringMatching(says),
        });
        const read = await Promise.all(
          restics.map((restic) => resticCheck(restic, [...lock, '--read-data'])),
        );
        expect(read).toEqual([expected.reading.ours, expected.reading.ours].map(saying));
      }
      if (expected.repaired !== undefined) {
        await repairIndex(path);
        expect((await ourCheck(path, expected.repaired === 'clean')).outcome).toBe(expected.repaired);
        const again = await Promise.all(restics.map((restic) => resticCheck(restic, lock)));
        expect(again).toEqual([expected.repaired, expected.repaired].map(saying));
      }
      await rm(path, { recursive: true });
      // Old versions try for most of a minute to read a pack that is missing.
    },
    180_000,
  );

  test('a wrong password is neither damage nor a missing repository', async () => {
    await expect(openLocal(scratch.join('repository'), 'wrong')).rejects.toMatchObject({
      kind: 'wrong-password',
      exitCode: 12,
    });
    const { status } = await new Restic(current, scratch.join('repository'), 'wrong').try(['check']);
    expect(status).toBe(12);
  });

  test('a place without a repository', async () => {
    await expect(openLocal(scratch.join('nothing'))).rejects.toMatchObject({
      kind: 'no-repository',
      exitCode: 10,
    });
    expect((await new Restic(current, scratch.join('nothing')).try(['check'])).status).toBe(10);
  });
});

/** Any text will do; it is compared for the sake of the message that a failing test prints. */
function saying(outcome: Outcome | readonly Outcome[]): { outcome: unknown; text: unknown } {
  const outcomes = typeof outcome === 'string' ? [outcome] : outcome;
  return {
    outcome: expect.stringMatching(new RegExp(`^(${outcomes.join('|')})$`)),
    text: expect.any(String),
  };
}

async function harm(path: string, { harm: doHarm }: Case): Promise<void> {
  const repository = await openLocal(path);
  const pack = async (type: BlobType): Promise<string> => {
    await repository.loadIndex();
    for await (const { file } of repository.indexFiles()) {
      for (const { id, blobs } of file.packs) {
        const size = blobs.reduce((sum, blob) => sum + blob.length, 0);
        if (blobs[0]?.type === type && (type === 'tree' || size > 2_000_000)) return id;
      }
    }
    throw new Error(`no ${type} pack`);
  };
  await doHarm({ path, repository, pack });
  await repository.close();
}

/** Opens, locks and checks as the command does, and puts the verdict into one word. */
async function ourCheck(path: string, read: boolean): Promise<{ outcome: Outcome; text: string }> {
  let repository: Repository | undefined;
  try {
    repository = await openLocal(path);
    await repository.lock('shared');
    const report = await checkRepository(repository, read ? { readData: { kind: 'all' } } : {});
    return {
      outcome: verdictOf(report),
      text: report.problems.map((problem) => problem.sentence).join('\n'),
    };
  } catch (error) {
    if (!(error instanceof DatamoverError)) throw error;
    const outcome =
      error.kind === 'locked' ? 'locked' : error.kind === 'wrong-password' ? 'wrong password' : 'failed';
    return { outcome, text: error.message };
  } finally {
    await repository?.close();
  }
}

function verdictOf(report: CheckReport): Outcome {
  if (report.damageCount > 0) return 'damaged';
  return report.untidyCount > 0 ? 'untidy' : 'clean';
}

async function resticCheck(
  restic: Restic,
  args: readonly string[],
): Promise<{ outcome: Outcome; text: string }> {
  const { status, stdout, stderr } = await restic.try(['check', ...args]);
  const text = stdout + stderr;
  return { outcome: resticOutcome(status, text), text };
}

function resticOutcome(status: number, text: string): Outcome {
  if (status === 0)
    return /additional files|not referenced in any index|several indexes|Duplicate packs/.test(text)
      ? 'untidy'
      : 'clean';
  if (status === 11) return 'locked';
  // 1 is damage as well as not being able to begin, and old versions have no other.
  // 'Unmarshal': a flipped bit may leave a key file that is no JSON, or no base64, and 0.14 reads no further.
  const didNotBegin =
    /unable to create lock|wrong password|no key found|unable to open config|config or key .* is damaged|LoadRaw\(<key|Is there a repository|Fatal: Unmarshal/;
  return status !== 1 || didNotBegin.test(text) ? 'failed' : 'damaged';
}

async function repairIndex(path: string): Promise<void> {
  const repository = await openLocal(path);
  await repository.lock('exclusive');
  await executeRepairIndex(repository, await planRepairIndex(repository));
  await repository.close();
}

/** Saves a snapshot of one file whose size is not the one of its blobs. */
async function saveLiar(repository: Repository, time: string): Promise<void> {
  await repository.loadIndex();
  const content = await repository.saveBlob('data', Buffer.from('four'));
  const owner = { mode: 0o600, mtime: time, atime: time, ctime: time, uid: 0, gid: 0 };
  const node = { name: 'liar', type: 'file', ...owner, size: 5, links: 1, content: [content] };
  const tree = await repository.saveBlob('tree', Buffer.from(`${JSON.stringify({ nodes: [node] })}\n`));
  await repository.saveSnapshot({ time, tree, paths: ['/liar'], hostname: 'h' });
}

async function foreignLock(repository: Repository, lock: Partial<Lock>): Promise<void> {
  const { time, exclusive } = newLock('shared', '0');
  await repository.files.save(
    'locks',
    encodeLock({ time, exclusive, hostname: 'elsewhere', username: 'root', pid: 4711, ...lock }),
  );
}

function files(path: string, folder: string): string[] {
  return readdirSync(join(path, folder)).sort();
}

function packPath(path: string, pack: Id): string {
  return join(path, 'data', pack.slice(0, 2), pack);
}

function randomId(): Id {
  return randomBytes(32).toString('hex');
}

/** Flips a bit of a byte; a negative place counts from the end. */
async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  const place = at < 0 ? bytes.length + at : at;
  bytes[place] = (bytes[place] ?? 0) ^ 4;
  await rm(path);
  await writeFile(path, bytes);
}

async function truncateBy(path: string, bytes: number): Promise<void> {
  const { size } = await stat(path);
  const content = await readFile(path);
  await rm(path);
  await writeFile(path, content.subarray(0, size - bytes));
}
