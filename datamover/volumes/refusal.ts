/**
 * Why a stream is not taken, thrown where it is found out; SendStream makes it a DatamoverError that names the record and the
 * place in the stream.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly hint: string | undefined;

  constructor(cause: string, hint?: string) {
    super(cause);
    this.hint = hint;
  }
}

/** A refusal of streams that are not as they were sent. */
export function damaged(cause: string): Refusal {
  return new Refusal(cause, 'the stream was changed on its way: send it again');
}
