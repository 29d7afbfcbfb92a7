import { parseArgs } from 'node:util';

export interface Settings {
  /** Bytes of each test volume. */
  readonly size: number;
  readonly rounds: number;
  /** Cases whose names begin with one of these; all without any. */
  readonly only: readonly string[];
  /** Blobs of the big index. */
  readonly blobs: number;
  readonly json: string | undefined;
  /** A folder for volumes and repositories that are too large for memory. */
  readonly scratch: string | undefined;
  /** A document to put the tables into. */
  readonly document: string | undefined;
}

const HELP = `Usage: npm run bench -- [options]

  --size SIZE      bytes of each test volume: 512M, 4G (default 2G)
  --rounds N       how often each job is run (default 3)
  --only CASE      only cases whose name begins so: first, unchanged, restore, minio, tls, requests, parser, full, changed,
                   sparse, index (may be repeated)
  --blobs N        blobs of the big index (default 10000000)
  --scratch DIR    keeps volumes and repositories there, not in memory: for those that are too large for it
  --quick          256M, one round, a million blobs: shows that everything works, proves little
  --json FILE      writes every sample as JSON
  --document FILE  puts the tables between the markers of a document, such as docs/performance.md
`;

/** Reads the command line; undefined when only help was asked for, which has then been printed. */
export function readSettings(args: readonly string[]): Settings | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string' },
      rounds: { type: 'string' },
      blobs: { type: 'string' },
      only: { type: 'string', multiple: true },
      quick: { type: 'boolean' },
      scratch: { type: 'string' },
      json: { type: 'string' },
      document: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    console.log(HELP);
    return undefined;
  }
  const quick = values.quick === true;
  return {
    size: parseSize(values.size ?? (quick ? '256M' : '2G')),
    rounds: parseNumber('--rounds', values.rounds ?? (quick ? '1' : '3')),
    only: values.only ?? [],
    blobs: parseNumber('--blobs', values.blobs ?? (quick ? '1000000' : '10000000')),
    scratch: values.scratch,
    json: values.json,
    document: values.document,
  };
}

function parseNumber(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`${option} takes a number from 1 on, not ${text}`);
  return number;
}

function parseSize(text: string): number {
  const match = /^(\d+)([MG])$/.exec(text);
  if (match === null) throw new Error(`--size takes a number with M or G, not ${text}`);
  return parseNumber('--size', match[1] ?? '') * (match[2] === 'G' ? 2 ** 30 : 2 ** 20);
}
