import { constants } from 'node:fs';
import { copyFile, open, rm, truncate } from 'node:fs/promises';
import { run } from '../../../process/spawn.ts';
import type { ChangingImage } from '../../testing/workload.ts';

/** A file as an image; its snaps are copies of it. What is asked for is done in order, and all of it when `settled` resolves. */
export class FileImage implements ChangingImage {
  readonly path: string;
  #work: Promise<void>;

  constructor(path: string, bytes: number) {
    this.path = path;
    this.#work = open(path, 'w').then(async (file) => {
      await file.truncate(bytes);
      await file.close();
    });
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#then(async () => {
      const file = await open(this.path, 'r+');
      await file.write(bytes, 0, bytes.length, offset);
      await file.close();
    });
  }

  discard(offset: number, length: number): void {
    if (length === 0) return;
    const hole = ['--punch-hole', '--offset', String(offset), '--length', String(length)];
    this.#then(async () => {
      await run({ file: 'fallocate', args: [...hole, this.path] });
    });
  }

  resize(bytes: number): void {
    this.#then(() => truncate(this.path, bytes));
  }

  snap(name: string): void {
    this.#then(() => copyFile(this.path, this.#copy(name), constants.COPYFILE_FICLONE));
  }

  removeSnap(name: string): void {
    this.#then(() => rm(this.#copy(name)));
  }

  rollBack(snap: string): void {
    this.#then(() => copyFile(this.#copy(snap), this.path, constants.COPYFILE_FICLONE));
  }

  async settled(): Promise<void> {
    await this.#work;
  }

  #copy(snap: string): string {
    return `${this.path}.${snap}`;
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work);
  }
}
