/** S3's limits: a part has at least 5 MiB (the last one apart), an object at most 10,000 parts. */
const FIRST_PART = 8 * 1024 * 1024;

/** Parts double after every thousand, so that memory stays small and an object can have 8 TiB. */
function partSize(number: number): number {
  return FIRST_PART * 2 ** Math.floor((number - 1) / 1000);
}

export interface Part {
  /** From 1. */
  readonly number: number;
  readonly body: Buffer;
  readonly last: boolean;
}

/** Cuts a stream of bytes into the parts of an upload, holding one at a time; an empty stream is one empty part. */
export async function* cutIntoParts(source: AsyncIterable<Buffer>): AsyncGenerator<Part> {
  let number = 1;
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    let rest = chunk;
    while (size + rest.length > partSize(number)) {
      const room = partSize(number) - size;
      yield { number, body: Buffer.concat([...held, rest.subarray(0, room)]), last: false };
      rest = rest.subarray(room);
      [number, held, size] = [number + 1, [], 0];
    }
    held.push(rest);
    size += rest.length;
  }
  yield { number, body: Buffer.concat(held), last: true };
}
