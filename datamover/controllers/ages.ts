/** Milliseconds of a clock that nobody sets; only differences mean something. */
export type SteadyClock = () => number;

const STEADY: SteadyClock = () => performance.now();

interface Seen {
  readonly as: string;
  readonly at: number;
}

/** As far as it matters which objects are no more. */
interface ObjectChange {
  readonly type: string;
  readonly object: { readonly metadata: { readonly uid: string } };
}

/**
 * For how long this process has seen things be as they are (K-19). Timestamps in objects are for people: they come from the clocks
 * of several machines, which jump, so the time limits count from here, as the holders of leases do. A controller that has just begun
 * gives everything its whole time once more.
 */
export class Ages {
  readonly #clock: SteadyClock;
  readonly #seen = new Map<string, Map<string, Seen>>();

  constructor(clock: SteadyClock = STEADY) {
    this.#clock = clock;
  }

  /** Of how many objects something is remembered. */
  get size(): number {
    return this.#seen.size;
  }

  /** Milliseconds since `what` of the object with this UID was first seen `as` it is; 0 at the first look. */
  of(uid: string, what: string, as: string): number {
    const object = this.#seen.get(uid) ?? new Map<string, Seen>();
    this.#seen.set(uid, object);
    const known = object.get(what);
    const seen = known?.as === as ? known : { as, at: this.#clock() };
    object.set(what, seen);
    return this.#clock() - seen.at;
  }

  /** It is no more so: should it become so again, its time begins anew. */
  end(uid: string, what: string): void {
    this.#seen.get(uid)?.delete(what);
  }

  /** Forgets what an informer tells to be deleted. */
  follow(informer: { onChange(handler: (change: ObjectChange) => void): unknown }): void {
    informer.onChange(({ type, object }) => {
      if (type === 'deleted') this.forget(object.metadata.uid);
    });
  }

  /** The object is no more. */
  forget(uid: string): void {
    this.#seen.delete(uid);
  }
}
