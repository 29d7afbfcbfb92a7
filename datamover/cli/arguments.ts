import { InvalidArgumentError } from 'commander';
import type { Compression } from '../repository/types.ts';
import type { Count } from '../retention/policy.ts';

/**
 * Parsers of single arguments. They throw commander's InvalidArgumentError with what would be right; the program turns it
 * into one sentence of usage and exit code 1.
 */

/** What a restore may be asked to be. */
export type OutputFormat = 'image' | 'rbd-diff' | 'zfs';

export function parseOutputFormat(text: string): OutputFormat {
  if (text === 'image' || text === 'rbd-diff' || text === 'zfs') return text;
  throw new InvalidArgumentError(
    'Write image (the bytes of a disk), rbd-diff (what rbd import-diff takes) or zfs (a chain of zfs send streams).',
  );
}

/** What a pipe may deliver. */
export type InputFormat = 'image' | 'stream' | 'zvol' | 'zfs' | 'rbd-diff';

const INPUT_FORMATS: readonly InputFormat[] = ['image', 'stream', 'zvol', 'zfs', 'rbd-diff'];

export function parseFormat(text: string): InputFormat {
  const format = INPUT_FORMATS.find((known) => known === text);
  if (format !== undefined) return format;
  throw new InvalidArgumentError(
    'Write image (the bytes of a disk), zvol (a zfs send of a volume) or rbd-diff (an rbd export-diff), all kept as the disk, zfs (any zfs send, kept as it is) or stream (anything else).',
  );
}

export function parseCompression(text: string): Compression {
  if (text === 'off' || text === 'auto' || text === 'max' || text === 'fastest') return text;
  throw new InvalidArgumentError('Write auto, off, max or fastest.');
}

/** A whole number that is not negative. */
export function parseCount(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Write a whole number, 0 or more.');
  return Number(text);
}

/** Turns a parser that throws RangeError into one that commander can report. */
export function explained<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof RangeError) throw new InvalidArgumentError(`${error.message}.`);
      throw error;
    }
  };
}

/** How many to keep; `unlimited` (or -1, as restic has it) keeps all. */
export function parseKeep(text: string): Count {
  if (text === 'unlimited' || text === '-1') return 'unlimited';
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Write a number of snapshots, or unlimited.');
  return Number(text);
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/** `500M`, `1.5G`, in bytes; the units are binary, as restic's. */
export function parseSize(text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:ib|b)?)?$/i.exec(text) ?? [];
  const factor = SIZE_UNITS[unit.toLowerCase()];
  if (digits === undefined || factor === undefined) {
    throw new InvalidArgumentError('Write a size such as 500M, 1.5G or 20000 (bytes).');
  }
  return Math.floor(Number(digits) * factor);
}

const SPAN_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** A span of time for waiting: `30s`, `5m`, `1h30m`, `2d`, in milliseconds. */
export function parseSpan(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) {
    throw new InvalidArgumentError('Write a time span such as 30s, 5m, 1h30m or 2d.');
  }
  return (
    parts.reduce((sum, [, digits, unit = 's']) => sum + Number(digits) * (SPAN_SECONDS[unit] ?? 0), 0) * 1000
  );
}

/**
 * A point in time: RFC 3339 (`2026-11-20T12:00:00Z`), or as restic writes it (`2026-11-20 12:00:00`, local time), or `now`.
 */
export function parseTime(text: string): Date {
  if (text === 'now') return new Date();
  const plain = /^\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?$/.test(text);
  const stamped = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text);
  // A date alone means midnight here, not in Greenwich, as the other local spelling.
  const date = new Date(plain ? (text.length === 10 ? `${text} 00:00` : text) : text);
  if ((!plain && !stamped) || Number.isNaN(date.getTime())) {
    throw new InvalidArgumentError(
      'Write a time such as "2026-11-20 12:00:00" (local) or 2026-11-20T12:00:00Z.',
    );
  }
  return date;
}

/** A tag; several may be joined by commas, as restic takes them. */
export function collectTags(text: string, earlier: readonly string[] = []): string[] {
  const tags = text.split(',').map((tag) => tag.trim());
  if (tags.includes('')) throw new InvalidArgumentError('A tag is not empty; several are joined by commas.');
  return [...earlier, ...tags];
}

/** One of restic's tag lists: `a,b` wants both, '' no tags at all; given again it is an alternative. */
export function collectTagLists(text: string, earlier: readonly (readonly string[])[] = []): string[][] {
  return [...earlier.map((list) => [...list]), text.split(',').map((tag) => tag.trim())];
}

export function collect(text: string, earlier: readonly string[] = []): string[] {
  return [...earlier, text];
}

/** `-o s3.region=eu-central-1`, repeated. */
export function collectSetting(
  text: string,
  earlier: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const [, key, value] = /^([a-z0-9]+\.[a-z0-9-]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    throw new InvalidArgumentError('Write KEY=VALUE such as s3.region=eu-central-1.');
  }
  return { ...earlier, [key]: value };
}
