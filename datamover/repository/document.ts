import { DatamoverError } from '../errors.ts';
import { isId } from './id.ts';
import type { Id } from './types.ts';

/**
 * JSON documents of a repository, read with suspicion: each accessor checks the type of one field and names file and field when
 * it does not fit. Unknown fields stay in the object, so a document that we rewrite keeps what others put there.
 */
export type JsonObject = Record<string, unknown>;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

export function encodeDocument(value: object): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(value));
}

/** Parses bytes that must be one JSON object. `subject` names the file in errors: `snapshot 1a2b3c4d`. */
export function parseDocument(bytes: Uint8Array, subject: string): JsonObject {
  if (bytes.length === 0) throw malformed(subject, 'the file is empty');
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    // V8 quotes the text in its message, and key files must not appear in messages.
    throw malformed(subject, 'not a JSON document');
  }
  return asObject(value, subject, 'the document');
}

export function malformed(subject: string, cause: unknown): DatamoverError {
  return new DatamoverError({
    operation: 'read',
    subject,
    cause,
    hint: 'the file is damaged or was written by something else',
  });
}

export function asObject(value: unknown, subject: string, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(subject, `${what} is not a JSON object`);
  }
  return value as JsonObject;
}

export function stringField(object: JsonObject, name: string, subject: string): string {
  const value = object[name];
  if (typeof value !== 'string') throw malformed(subject, `field ${name} is not a string`);
  return value;
}

export function idField(object: JsonObject, name: string, subject: string): Id {
  const value = object[name];
  if (!isId(value)) throw malformed(subject, `field ${name} is not an id`);
  return value;
}

/** A whole number from 0 to `max`. */
export function countField(
  object: JsonObject,
  name: string,
  subject: string,
  max = Number.MAX_SAFE_INTEGER,
): number {
  const value = object[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw malformed(subject, `field ${name} is not a whole number from 0 to ${max}`);
  }
  return value;
}

/** An array; Go writes `null` for an empty one. */
export function arrayField(object: JsonObject, name: string, subject: string): readonly unknown[] {
  const value = object[name];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw malformed(subject, `field ${name} is not an array`);
  return value;
}

export function stringsField(object: JsonObject, name: string, subject: string): readonly string[] {
  const values = arrayField(object, name, subject);
  if (!values.every((value) => typeof value === 'string')) {
    throw malformed(subject, `field ${name} holds something that is not a string`);
  }
  return values;
}

export function idsField(object: JsonObject, name: string, subject: string): readonly Id[] {
  const values = arrayField(object, name, subject);
  if (!values.every(isId)) throw malformed(subject, `field ${name} holds something that is not an id`);
  return values;
}

/** Standard base64 with padding, as Go writes byte slices. `lengths` are the lengths allowed, in bytes. */
export function base64Field(object: JsonObject, name: string, subject: string, max = 65536): Uint8Array {
  const text = stringField(object, name, subject);
  if (
    !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) ||
    text.length > 2 * max
  ) {
    throw malformed(subject, `field ${name} is not base64`);
  }
  return new Uint8Array(Buffer.from(text, 'base64'));
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
