import { DatamoverError, describeCause } from '../errors.ts';

/** An error in the two parts that a message takes; together they are its sentence. */
export function asSentence(error: unknown): { operation: string; cause: string } {
  if (!(error instanceof DatamoverError))
    return { operation: 'read the stream', cause: describeCause(error) };
  const { operation, subject, message } = error;
  const place = subject === undefined ? operation : `${operation} ${subject}`;
  return { operation: place, cause: message.slice(place.length + 2) };
}
