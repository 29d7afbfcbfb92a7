import fc from 'fast-check';

/** What happens to a volume between two snaps. Places and lengths are parts of the image's size, so any fits any size. */
export type Change =
  | {
      readonly kind: 'write' | 'zeros' | 'discard';
      readonly at: number;
      readonly length: number;
      readonly fill: number;
    }
  | { readonly kind: 'resize'; readonly bytes: number }
  | { readonly kind: 'roll-back' };

/** An image that is changed byte by byte, and its snaps. */
export interface ChangingImage {
  write(offset: number, bytes: Uint8Array): void;
  discard(offset: number, length: number): void;
  resize(bytes: number): void;
  snap(name: string): void;
  removeSnap(name: string): void;
  rollBack(snap: string): void;
}

/** Objects of the images are this large, so that small images have many and changes cross them. */
export const OBJECT_BYTES = 1 << 20;
const MAX_BYTES = 12 * OBJECT_BYTES;

const lengths = fc.oneof(
  fc.integer({ min: 1, max: 600 }),
  fc.constantFrom(4096, 65_536, OBJECT_BYTES, 2 * OBJECT_BYTES),
  fc.integer({ min: 1, max: 3 * OBJECT_BYTES }),
);
const places = fc.oneof(
  fc.nat(MAX_BYTES),
  fc.nat(MAX_BYTES / 4096).map((page) => page * 4096),
  fc.nat(MAX_BYTES / OBJECT_BYTES).map((object) => object * OBJECT_BYTES),
);
export const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('write' as const, 'write' as const, 'zeros' as const, 'discard' as const),
      at: places,
      length: lengths,
      fill: fc.integer({ min: 1, max: 255 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('resize' as const),
      bytes: fc.oneof(fc.integer({ min: 1, max: MAX_BYTES }), fc.constantFrom(OBJECT_BYTES, MAX_BYTES)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('roll-back' as const) }) },
);

/** Steps of changes; a snap is taken after each step. */
export function workloads(steps: number): fc.Arbitrary<Change[][]> {
  return fc.array(fc.array(change, { maxLength: 6 }), { minLength: steps, maxLength: steps });
}

/** An image and what it must contain: every change is made to both. */
export class Model {
  bytes: Buffer;
  readonly #snaps = new Map<string, Buffer>();

  constructor(size: number) {
    this.bytes = Buffer.alloc(size);
  }

  change(image: ChangingImage, what: Change): void {
    switch (what.kind) {
      case 'resize':
        image.resize(what.bytes);
        this.bytes = resized(this.bytes, what.bytes);
        return;
      case 'roll-back': {
        const last = [...this.#snaps].at(-1);
        if (last === undefined) return;
        image.rollBack(last[0]);
        this.bytes = Buffer.from(last[1]);
        return;
      }
      case 'write':
      case 'zeros':
      case 'discard': {
        const at = what.at % this.bytes.length;
        const length = Math.min(what.length, this.bytes.length - at);
        const data = Buffer.alloc(length, what.kind === 'write' ? pattern(what.fill) : 0);
        data.copy(this.bytes, at);
        if (what.kind === 'discard') image.discard(at, length);
        else image.write(at, data);
      }
    }
  }

  snap(image: ChangingImage, name: string): void {
    image.snap(name);
    this.#snaps.set(name, Buffer.from(this.bytes));
  }

  removeSnap(image: ChangingImage, name: string): void {
    image.removeSnap(name);
    this.#snaps.delete(name);
  }

  contentOf(snap: string): Buffer {
    const bytes = this.#snaps.get(snap);
    if (bytes === undefined) throw new Error(`no snap ${snap}`);
    return bytes;
  }

  get snaps(): string[] {
    return [...this.#snaps.keys()];
  }
}

/** Not of one byte, so that content at a wrong place shows. */
function pattern(fill: number): Buffer {
  return Buffer.from(Array.from({ length: 251 }, (_, i) => (i * fill + (i >> 3)) & 0xff));
}

function resized(bytes: Buffer, size: number): Buffer {
  const result = Buffer.alloc(size);
  bytes.copy(result);
  return result;
}
