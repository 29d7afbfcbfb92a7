import type { Lasted, Lasting } from '../../api/transfer.ts';

/** Milliseconds of a clock that nobody sets; only differences mean something. */
export type SteadyClock = () => number;

const STEADY: SteadyClock = () => performance.now();

/** As far as it matters how long something of an object has been so. */
export interface Aged {
  readonly metadata: { readonly uid: string };
  readonly status?: { readonly lasted?: readonly Lasted[] };
}

interface Seen {
  /** Undefined once it is no more so. */
  readonly as: string | undefined;
  readonly at: number;
  /** Beyond this it is of no matter how long it was. */
  readonly limitMs: number;
}

interface Remembered {
  readonly seen: Map<Lasting, Seen>;
  /** How much longer something has lasted than the object says before it is written again. */
  gapMs: number;
}

/** As far as it matters which objects are no more. */
interface ObjectChange {
  readonly type: string;
  readonly object: { readonly metadata: { readonly uid: string } };
}

/** The first write comes soon, for the sake of a controller that never lives long; later ones cost no more than one a minute. */
const FIRST_GAP_MS = 10_000;
const LONGEST_GAP_MS = 60_000;

/**
 * For how long things have been as they are (K-19). Timestamps in objects are for people: they come from the clocks of several machines,
 * which jump. So each process counts by its steady clock from when it saw a thing become so, writes now and then into the object how
 * long that was (`status.lasted`), and goes on from what an earlier process wrote. What neither saw is not counted.
 */
export class Ages {
  readonly #clock: SteadyClock;
  readonly #objects = new Map<string, Remembered>();

  constructor(clock: SteadyClock = STEADY) {
    this.#clock = clock;
  }

  /** Of how many objects something is remembered. */
  get size(): number {
    return this.#objects.size;
  }

  /**
   * Milliseconds since `what` of the object was first seen `as` it is; 0 at the first look, unless the object says how long it was. That
   * is written up to `limitMs`.
   */
  of(object: Aged, what: Lasting, as: string, limitMs = Infinity): number {
    const { seen } = this.#remembered(object);
    const known = seen.get(what);
    const at = known?.as === as ? known.at : this.#clock() - (known ? 0 : writtenMs(object, what, as));
    seen.set(what, { as, at, limitMs });
    return this.#clock() - at;
  }

  /** It is no more so: should it become so again, its time begins anew. */
  end(object: Aged, what: Lasting): void {
    const known = this.#objects.get(object.metadata.uid)?.seen.has(what) === true;
    if (!known && noteOf(object, what) === undefined) return;
    this.#remembered(object).seen.set(what, { as: undefined, at: 0, limitMs: 0 });
  }

  /** Whether what the object says has become too little, or untrue. */
  isDue(object: Aged): boolean {
    const { seen, gapMs } = this.#remembered(object);
    return [...seen].some(([what, { as, at, limitMs }]) => {
      if (as === undefined) return noteOf(object, what) !== undefined;
      const written = writtenMs(object, what, as);
      return written < limitMs && this.#clock() - at - written >= gapMs;
    });
  }

  /** What the object is to say with the next write: the same as before, so that nothing is different, unless it is due. */
  notes(object: Aged): readonly Lasted[] | undefined {
    const before = object.status?.lasted;
    if (!this.isDue(object)) return before;
    const remembered = this.#remembered(object);
    remembered.gapMs = Math.min(LONGEST_GAP_MS, 2 * remembered.gapMs);
    const now = [...remembered.seen].flatMap(([what, { as, at, limitMs }]): Lasted[] => {
      const seconds = Math.floor((this.#clock() - at) / 1_000);
      return as !== undefined && limitMs > 0 && seconds > 0 ? [{ what, as, seconds }] : [];
    });
    // Of these, this process has not looked at anything yet.
    const others = (before ?? []).filter(({ what }) => !remembered.seen.has(what));
    return [...others, ...now];
  }

  /** Forgets what an informer tells to be deleted. */
  follow(informer: { onChange(handler: (change: ObjectChange) => void): unknown }): void {
    informer.onChange(({ type, object }) => {
      if (type === 'deleted') this.forget(object.metadata.uid);
    });
  }

  /** The object is no more. */
  forget(uid: string): void {
    this.#objects.delete(uid);
  }

  #remembered({ metadata: { uid } }: Aged): Remembered {
    const known = this.#objects.get(uid) ?? { seen: new Map<Lasting, Seen>(), gapMs: FIRST_GAP_MS };
    this.#objects.set(uid, known);
    return known;
  }
}

function noteOf({ status }: Aged, what: Lasting): Lasted | undefined {
  return status?.lasted?.find((note) => note.what === what);
}

function writtenMs(object: Aged, what: Lasting, as: string): number {
  const note = noteOf(object, what);
  return note?.as === as ? note.seconds * 1_000 : 0;
}
