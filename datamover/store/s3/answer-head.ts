/** The head of an HTTP/1.1 answer, as far as a download needs it. Source: RFC 9112. */
export interface AnswerHead {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the head with its empty line: the body begins there. */
  readonly length: number;
  /** Bytes of the body, or that it comes in chunks. */
  readonly body: number | 'chunked';
}

const START = 'HTTP/1.1 ';

/**
 * Reads the head of an answer. `incomplete`: more bytes are needed. `odd`: not one of the usual kinds, which node:http
 * understands.
 */
export function parseHead(bytes: Buffer): AnswerHead | 'incomplete' | 'odd' {
  const start = bytes.toString('latin1', 0, START.length);
  if (!START.startsWith(start)) return 'odd';
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return 'incomplete';
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = /^HTTP\/1\.1 ([2-5]\d\d)(?: |$)/.exec(first)?.[1];
  if (status === undefined) return 'odd';
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return 'odd';
    const key = name.toLowerCase();
    // Two lengths, or a length and chunks, are how answers are smuggled.
    if (key in headers && (key === 'content-length' || key === 'transfer-encoding')) return 'odd';
    headers[key] = value;
  }
  const body = bodyOf(headers);
  return body === undefined ? 'odd' : { status: Number(status), headers, length: end + 4, body };
}

function bodyOf(headers: Readonly<Record<string, string>>): number | 'chunked' | undefined {
  const length = headers['content-length'];
  const coding = headers['transfer-encoding'];
  if ('content-encoding' in headers) return undefined;
  if (length === undefined) return coding?.toLowerCase() === 'chunked' ? 'chunked' : undefined;
  return coding === undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Joins the chunks of a body; undefined if it is not complete. Throws if they are none. Source: RFC 9112, 7.1. */
export function joinChunks(body: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const end = body.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const size = /^[0-9a-fA-F]{1,6}$/.exec(body.toString('latin1', at, end).split(';', 1)[0] ?? '')?.[0];
    if (size === undefined) throw new Error('the chunks of the answer cannot be read');
    const length = Number.parseInt(size, 16);
    // No trailers: the S3 errors that this is for have none.
    if (length === 0) return body.length < end + 4 ? undefined : Buffer.concat(chunks);
    chunks.push(body.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}

/** Whether the server keeps the connection after this answer. */
export function keepsConnection({ headers }: AnswerHead): boolean {
  return !/\bclose\b/i.test(headers['connection'] ?? '');
}
