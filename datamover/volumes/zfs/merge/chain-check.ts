import { Refusal } from '../../refusal.ts';
import type { BeginRecord } from '../record.ts';
import type { HeaderFields } from './headers.ts';

/** Refuses a stream that cannot be merged at all, or not behind the one before it. */
export function checkMergeable(
  begin: BeginRecord,
  header: Uint8Array,
  before: BeginRecord | undefined,
  fields: HeaderFields,
): void {
  const { features } = begin;
  if (features.has('redacted')) {
    throw new Refusal(
      'parts of it are redacted',
      'a redacted stream is no whole volume: send it without --redact',
    );
  }
  if (begin.payloadBytes > 0 !== features.has('raw'))
    throw new Refusal('its beginning carries a list that only its own receiver understands');
  if (!fields.tellsAll(header)) {
    throw new Refusal(
      'its sender, older than OpenZFS 0.8, does not tell of all that was freed',
      'send a full stream',
    );
  }
  if (before === undefined) {
    if (begin.fromGuid === undefined) return;
    throw new Refusal(
      `it holds what changed since the snapshot with guid ${begin.fromGuid}`,
      'a chain begins with a full stream',
    );
  }
  if (begin.fromGuid !== before.toGuid) {
    throw new Refusal(
      begin.fromGuid === undefined
        ? 'it is a full stream, and others come before it'
        : `it builds on the snapshot with guid ${begin.fromGuid}, and the stream before it is of ${before.toGuid}`,
      'give the streams of one chain, the oldest first',
    );
  }
  if (features.has('raw') !== before.features.has('raw')) {
    throw new Refusal(
      features.has('raw')
        ? 'it is raw, and the one before it is not'
        : 'it is not raw, and the one before it is',
      'no receiver takes one after the other: send a full stream',
    );
  }
  if (begin.bigEndian !== before.bigEndian) {
    throw new Refusal(
      'it has another byte order than the stream before it: it was sent by another kind of machine',
      'send a full stream',
    );
  }
  if (begin.content !== before.content)
    throw new Refusal(`it is of a ${begin.content}, the one before it is not`);
  if (before.features.has('large-blocks') && !features.has('large-blocks')) {
    throw new Refusal(
      'it was sent without large blocks, which the stream before it has',
      'send the increment with zfs send -L',
    );
  }
}
