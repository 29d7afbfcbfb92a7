/**
 * Further places of blobs that an index has seen while it was loaded, beside the ones it took: when the pack of the place taken turns
 * out to be marked, a spare one serves. Twenty bytes each; in a sound repository there are few, after a prune beside backups as
 * many as it has repacked.
 */
const WORDS = 5;
/** Beyond this more are forgotten, which costs a backup some blobs stored again and nothing else. */
const MOST = 4_000_000;

export class SparePlaces {
  #words = new Uint32Array(0);
  #count = 0;

  add(blob: number, pack: number, offset: number, length: number, uncompressedLength: number): void {
    if (this.#count >= MOST) return;
    const at = this.#count * WORDS;
    if (at === this.#words.length) {
      const grown = new Uint32Array(Math.max(1024 * WORDS, at * 2));
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words.set([blob, pack, offset, length, uncompressedLength], at);
    this.#count++;
  }

  /** Gives each place to `take`, in the order of their coming, and forgets them. */
  drain(
    take: (blob: number, pack: number, offset: number, length: number, uncompressedLength: number) => void,
  ): void {
    const words = this.#words;
    for (let at = 0; at < this.#count * WORDS; at += WORDS) {
      take(words[at] ?? 0, words[at + 1] ?? 0, words[at + 2] ?? 0, words[at + 3] ?? 0, words[at + 4] ?? 0);
    }
    this.#words = new Uint32Array(0);
    this.#count = 0;
  }
}
