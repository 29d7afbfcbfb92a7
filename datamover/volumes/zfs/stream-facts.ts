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

/** A chain of streams that a new one may build on; only its guids count. */
export interface ChainGuids {
  /** For messages: `backup 1a2b3c4d`. */
  readonly name: string;
  /** Decimal, oldest first; empty where the backup holds no chain. */
  readonly guids: readonly string[];
}

/** Reads a stream to know what it is and that it is whole; refuses one that builds on none of the base's snapshots. Handler of a SendStream. */
export class StreamIdentity implements SendStreamHandler {
  readonly #base: ChainGuids | undefined;
  #facts: StreamFacts | undefined;

  constructor(base: ChainGuids | undefined) {
    this.#base = base;
  }

  /** Known with the first record. */
  get facts(): StreamFacts | undefined {
    return this.#facts;
  }

  record(record: SendRecord): void {
    if (record.type !== 'BEGIN') return;
    if (record.fromGuid !== undefined) checkFits(record.fromGuid, this.#base);
    this.#facts = factsOf(record);
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

function checkFits(fromGuid: string, base: ChainGuids | undefined): void {
  const last = base?.guids.at(-1);
  if (base?.guids.includes(fromGuid) === true) return;
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
