import { randomBytes } from 'node:crypto';
import { DatamoverError } from '../errors.ts';
import { countField, encodeDocument, idField, malformed, parseDocument, stringField } from './document.ts';
import { formatPolynomial, parsePolynomial, randomPolynomial } from './polynomial.ts';
import type { RepositoryConfig } from './types.ts';

/** The newest repository format that we read and write. */
export const NEWEST_VERSION = 2;

/** A config for a new repository; `polynomial` (hex) comes from another repository when both shall deduplicate alike. */
export function newConfig(version: 1 | 2 = NEWEST_VERSION, polynomial?: string): RepositoryConfig {
  const chosen = polynomial ?? formatPolynomial(randomPolynomial());
  if (parsePolynomial(chosen) === undefined) {
    throw new DatamoverError({
      operation: 'choose chunker polynomial',
      subject: chosen,
      cause: 'not an irreducible polynomial of degree 53',
      kind: 'usage',
    });
  }
  return { version, id: randomBytes(32).toString('hex'), chunker_polynomial: chosen };
}

/** The plaintext of the config file. It is sealed but, unlike index or snapshots, never compressed. */
export function encodeConfig(config: RepositoryConfig): Uint8Array {
  return encodeDocument({
    version: config.version,
    id: config.id,
    chunker_polynomial: config.chunker_polynomial,
  });
}

/** `subject` names the repository in errors. A version that we do not know is refused before anything else is read. */
export function decodeConfig(bytes: Uint8Array, subject: string): RepositoryConfig {
  const document = parseDocument(bytes, subject);
  const version = countField(document, 'version', subject);
  if (version !== 1 && version !== 2) {
    throw new DatamoverError({
      operation: 'open repository',
      subject,
      cause: `it has format version ${version}, this program knows 1 and 2`,
      hint: 'use a newer datamover',
    });
  }
  const polynomial = stringField(document, 'chunker_polynomial', subject);
  if (parsePolynomial(polynomial) === undefined) {
    throw malformed(subject, 'field chunker_polynomial is not an irreducible polynomial of degree 53');
  }
  return { version, id: idField(document, 'id', subject), chunker_polynomial: polynomial };
}
