import type { BeginRecord, SendRecord } from './record.ts';
import { Refusal } from '../refusal.ts';
import type { SendStreamHandler } from './send-stream.ts';

/** What a send stream says of itself. */
export interface StreamFacts {
  /** Guids are decimal. */
  readonly guid: string;
  /** Of the snapshot that the stream builds on; undefined for a full one. */
  readonly fromGuid: string | undefined;
  /** `pool/dataset@snapshot`, where it was sent. */
  readonly snapshot: string;
  readonly content: 'filesystem' | 'zvol';
  /** When the snapshot was made, in seconds since 1970. */
  readonly createdSeconds: number;
  /** Names of features, and `bit N` for those without a name here. */
  readonly features: readonly string[];
}

/** A chain of streams that a new one may build on. */
export interface ChainFacts {
  /** For messages: `backup 1a2b3c4d`. */
  readonly name: string;
  /** The oldest first; empty where the backup holds no chain. */
  readonly streams: readonly Pick<StreamFacts, 'guid' | 'features'>[];
}

/** Reads a stream to know what it is and that it is whole; refuses one that builds on none of the base's snapshots. Handler of a SendStream. */
export class StreamIdentity implements SendStreamHandler {
  readonly #base: ChainFacts | undefined;
  #facts: StreamFacts | undefined;

  constructor(base: ChainFacts | undefined) {
    this.#base = base;
  }

  /** Known with the first record. */
  get facts(): StreamFacts | undefined {
    return this.#facts;
  }

  record(record: SendRecord): void {
    if (record.type !== 'BEGIN') return;
    const facts = factsOf(record);
    if (facts.fromGuid !== undefined) checkFits(facts.fromGuid, facts.features, this.#base);
    this.#facts = facts;
  }

  payload(): void {
    // Its checksum is the reader's business.
  }
}

export function factsOf(begin: BeginRecord): StreamFacts {
  return {
    guid: begin.toGuid,
    fromGuid: begin.fromGuid,
    snapshot: begin.toName,
    content: begin.content,
    createdSeconds: begin.creationTime,
    features: [...begin.features, ...begin.unknownFeatures.map((bit) => `bit ${bit}`)],
  };
}

function checkFits(fromGuid: string, features: readonly string[], base: ChainFacts | undefined): void {
  const last = base?.streams.at(-1)?.guid;
  const from = base?.streams.findLastIndex(({ guid }) => guid === fromGuid) ?? -1;
  if (base !== undefined && from >= 0) {
    checkFeatures(features, base.streams.slice(0, from + 1), base.name);
    return;
  }
  const what = `it holds what changed since the snapshot with guid ${fromGuid}`;
  const hint = 'send from the snapshot that was backed up last (zfs send -i), or a full stream';
  if (base === undefined) throw new Refusal(`${what}, and the volume has no backup yet`, hint);
  throw new Refusal(
    last === undefined
      ? `${what}, but ${base.name} holds no chain of send streams`
      : `${what}, but ${base.name} is of the one with guid ${last}, and no stream of its chain is of that one`,
    hint,
  );
}

/** `zfs receive` takes no increment that is raw onto what was not, nor the reverse, and none that splits large blocks. */
function checkFeatures(features: readonly string[], kept: ChainFacts['streams'], name: string): void {
  const raw = features.includes('raw');
  if (kept.some((stream) => stream.features.includes('raw') !== raw)) {
    throw new Refusal(
      `it is ${raw ? 'raw' : 'not raw'}, and the chain of ${name} is ${raw ? 'not' : 'raw'}: no receiver takes one after the other`,
      `send the increment ${raw ? 'without -w' : 'with zfs send -w'}, or a full stream`,
    );
  }
  if (features.includes('large-blocks')) return;
  if (kept.some((stream) => stream.features.includes('large-blocks'))) {
    throw new Refusal(
      `the chain of ${name} has large blocks, and it was sent without them: no receiver takes one after the other`,
      'send the increment with zfs send -L, or a full stream',
    );
  }
}
