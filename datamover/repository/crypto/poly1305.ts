import { allocate, instantiate, RESERVED, type Core } from '../wasm/core.ts';

/** Room for the key, the tag and any blob of restic's size; a longer message gets a memory of its own size. */
const USUAL_LENGTH = 16 * 1024 * 1024;
const KEY_AT = RESERVED;
const TAG_AT = RESERVED + 32;
const MESSAGE_AT = RESERVED + 64;

interface Workspace {
  readonly core: Core;
  readonly bytes: Uint8Array;
}

let workspace: Workspace | undefined;

/**
 * The Poly1305 tag (16 bytes) of `message` under a one-time key: r (16 bytes, clamped here), then s (16 bytes). Runs in WASM at
 * about 3 GiB per CPU-second; poly1305-plain.ts is the same in plain words.
 */
export function poly1305(message: Uint8Array, key: Uint8Array): Uint8Array<ArrayBuffer> {
  if (key.length !== 32) throw new RangeError(`Poly1305 wants a key of 32 bytes, not ${key.length}`);
  if (workspace === undefined || workspace.bytes.length < MESSAGE_AT + message.length) {
    const memory = allocate(Math.max(USUAL_LENGTH, message.length) + 64);
    workspace = { core: instantiate(memory), bytes: new Uint8Array(memory.buffer) };
  }
  const { core, bytes } = workspace;
  bytes.set(key, KEY_AT);
  bytes.set(message, MESSAGE_AT);
  core.poly1305(TAG_AT, MESSAGE_AT, message.length, KEY_AT);
  const tag = new Uint8Array(16);
  tag.set(bytes.subarray(TAG_AT, TAG_AT + 16));
  return tag;
}
