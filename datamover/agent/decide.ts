/** What the agent needs to see of a transfer's object (`viewOf`). */
export interface TransferView {
  readonly uid: string;
  readonly node?: string;
  readonly driver?: string;
  /** The pod of the agent that has it. */
  readonly claimedBy?: string;
  /** `batchingStatus` is Processing: the controller wants it carried. */
  readonly processing: boolean;
  /** The attempt of `claimedBy` has ended, well or not: the controller's turn. */
  readonly attemptEnded: boolean;
  /** Its phase is one that nothing follows. */
  readonly final: boolean;
  /** `cancel` is set, or its deletion is asked for. */
  readonly cancelled: boolean;
}

/** What this agent does about the transfer at the moment. */
export interface OwnJob {
  readonly uid: string;
  /** It has been told to end. */
  readonly stopping: boolean;
}

export interface Self {
  readonly node: string;
  readonly pod: string;
  readonly drivers: readonly string[];
  /** Whether another child may be started. */
  readonly room: boolean;
  /** It is about to end and begins nothing. */
  readonly draining: boolean;
}

export type Decision =
  | { readonly do: 'nothing' }
  /** Nobody has it: take its lease, write `claimedBy`, begin (K-12, K-13). */
  | { readonly do: 'claim' }
  /** A predecessor on this node had it: the same once its lease has run out (K-14). */
  | { readonly do: 'adopt' }
  /** It is ours and is to end; the object is told so (K-30). */
  | { readonly do: 'cancel' }
  /** It is not ours any more: end the child and say nothing (K-15). */
  | { readonly do: 'abandon'; readonly because: string };

const NOTHING: Decision = { do: 'nothing' };

/** Rules K-11 to K-15 and K-30 in one place. `view` is undefined where there is no such object. */
export function decide(view: TransferView | undefined, own: OwnJob | undefined, self: Self): Decision {
  if (own !== undefined) return own.stopping ? NOTHING : forRunning(view, own, self);
  if (view === undefined || self.draining || !self.room) return NOTHING;
  if (view.node !== self.node || !view.processing || view.final) return NOTHING;
  if (view.driver === undefined || !self.drivers.includes(view.driver)) return NOTHING;
  // One that nobody has begun is the controller's to cancel.
  if (view.claimedBy === undefined) return view.cancelled ? NOTHING : { do: 'claim' };
  return view.attemptEnded ? NOTHING : { do: 'adopt' };
}

function forRunning(view: TransferView | undefined, own: OwnJob, self: Self): Decision {
  const lost = reasonToAbandon(view, own, self);
  if (lost !== undefined) return { do: 'abandon', because: lost };
  return view?.cancelled === true ? { do: 'cancel' } : NOTHING;
}

function reasonToAbandon(view: TransferView | undefined, own: OwnJob, self: Self): string | undefined {
  if (view === undefined) return 'its object is gone';
  if (view.uid !== own.uid) return 'its object was deleted and made anew';
  if (view.final) return 'it has ended';
  if (view.node !== self.node) return 'it was given to another node';
  if (!view.processing) return 'it was put back into the queue';
  if (view.claimedBy !== self.pod) return 'another agent has it';
  return undefined;
}
