/* Long, for one scripted server serves all that can go wrong in an exchange. */
import { randomBytes } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

import { afterEach, describe, expect, test } from '@jest/globals';

import { RetryStore } from '../retry.ts';
import { collect, failure, handleOf } from '../store.suite.ts';
import { S3Store } from './store.ts';
import { s3Options, type TestPlace } from './testing.ts';

/** A server that answers as a test says: real ones seldom do these things, and never on demand. */

type Script = (request: IncomingMessage, answer: ServerResponse, count: number) => unknown;

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

function storeAt(port: number, place: TestPlace = {}): S3Store {
  const server = {
    endpoint: `http://127.0.0.1:${port}`,
    accessKey: 'access',
    secretKey: 'secret',
    domain: '',
  };
  const store = new S3Store(
    s3Options(
      { ...server, stop: () => Promise.resolve() },
      { bucket: 'bucket', region: 'us-east-1', stallMs: 800, ...place },
    ),
  );
  closing.push(() => store.close());
  return store;
}

async function scripted(script: Script, place: TestPlace = {}): Promise<S3Store> {
  let count = 0;
  const server = http.createServer((request, answer) => void script(request, answer, ++count));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return storeAt((server.address() as AddressInfo).port, place);
}

/** A server that writes raw bytes to each connection once a request came. */
async function raw(talk: (socket: net.Socket, count: number) => void): Promise<S3Store> {
  let count = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket.on('error', () => sockets.delete(socket)));
    const number = ++count;
    socket.once('data', () => talk(socket, number));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return storeAt((server.address() as AddressInfo).port);
}

function fail(
  answer: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  answer.writeHead(status, { 'content-type': 'application/xml', ...headers });
  answer.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>words</Message></Error>`);
}

const CONTENT = randomBytes(300_000);
const FILE = handleOf('data', CONTENT);

function serve(request: IncomingMessage, answer: ServerResponse): void {
  const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
  if (from === undefined) {
    answer.writeHead(200, { 'content-length': CONTENT.length }).end(CONTENT);
    return;
  }
  const part = CONTENT.subarray(Number(from), Number(to) + 1);
  const range = `bytes ${from}-${Number(from) + part.length - 1}/${CONTENT.length}`;
  answer.writeHead(206, { 'content-length': part.length, 'content-range': range }).end(part);
}

describe('an upload', () => {
  test('is what was saved, with its hash signed and no other request', async () => {
    const seen: [string | undefined, string | undefined, Buffer][] = [];
    const store = await scripted(async (request, answer) => {
      seen.push([request.method, request.headers['x-amz-content-sha256'] as string, await buffer(request)]);
      answer.end();
    });
    await store.save(FILE, CONTENT);
    expect(seen).toEqual([['PUT', FILE.name, CONTENT]]);
  });

  test.each([
    [503, 'SlowDown', 'throttled'],
    [503, 'ServiceUnavailable', 'throttled'],
    [429, 'TooManyRequests', 'throttled'],
    [500, 'InternalError', 'broken'],
    [502, 'BadGateway', 'broken'],
    [504, 'GatewayTimeout', 'broken'],
    [400, 'RequestTimeout', 'broken'],
    [507, 'XMinioStorageFull', 'full'],
    [403, 'QuotaExceeded', 'full'],
    [403, 'RequestTimeTooSkewed', 'forbidden'],
    [501, 'NotImplemented', 'broken'],
    [400, 'EntityTooLarge', 'refused'],
  ])('that is answered with %d %s is %s', async (status, code, reason) => {
    const store = await scripted((_, answer) => fail(answer, status, code, { 'retry-after': '7' }));
    expect(await failure(store.save(FILE, CONTENT))).toMatchObject({
      ...{ reason, code, retryAfterMs: 7000 },
      message: expect.stringContaining(`(${status} ${code})`),
    });
  });

  test('of a wrong clock is not repeated at once, but may be later: clocks are set', async () => {
    const store = await scripted((_, answer) => fail(answer, 403, 'RequestTimeTooSkewed'));
    const refused = await failure(store.save(FILE, CONTENT));
    expect(refused).toMatchObject({ retryable: true });
    expect(store.isPermanent(refused)).toBe(true);
  });

  test('that is refused early stops sending, and the answer is heard', async () => {
    let received = 0;
    const big = Buffer.alloc(64 << 20);
    const store = await scripted((request, answer) => {
      request.on('data', (chunk: Buffer) => (received += chunk.length));
      request.once('data', () => fail(answer, 403, 'AccessDenied', { connection: 'close' }));
    });
    expect((await failure(store.save(handleOf('data', big), big))).message).toMatch(/access denied/);
    expect(received).toBeLessThan(big.length);
  });

  test('that nobody reads is given up', async () => {
    const store = await scripted((request) => request.pause());
    const big = Buffer.alloc(64 << 20);
    const error = await failure(store.save(handleOf('data', big), big));
    expect(error.message).toMatch(/no byte moved for 0\.8 s/);
    expect(store.isPermanent(error)).toBe(false);
  });

  test('that is never answered is given up', async () => {
    const store = await scripted((request) => request.resume());
    expect((await failure(store.save(FILE, CONTENT))).message).toMatch(/no byte moved/);
  });

  test('may wait for its pace longer than for the server', async () => {
    const store = await scripted(async (request, answer) => {
      await buffer(request);
      answer.end();
    });
    let pieces = 0;
    const pace = (): Promise<void> | undefined =>
      ++pieces === 2 ? new Promise((resolve) => setTimeout(resolve, 1200)) : undefined;
    await store.save(FILE, CONTENT, { pace });
    expect(pieces).toBe(5);
  });

  test('that was damaged on its way may be repeated', async () => {
    const store = await scripted(async (request, answer, count) => {
      await buffer(request);
      if (count === 1) fail(answer, 400, 'XAmzContentSHA256Mismatch');
      else answer.end();
    });
    const error = await failure(store.save(FILE, CONTENT));
    expect(error.message).toMatch(/damaged on its way/);
    expect(store.isPermanent(error)).toBe(false);
    await store.save(FILE, CONTENT);
  });
});

describe('an upload to a bucket with object lock', () => {
  test('carries a checksum from the first refusal on', async () => {
    const checksums: unknown[] = [];
    const store = await scripted((request, answer) => {
      request.resume();
      const checksum = request.headers['x-amz-checksum-sha256'];
      checksums.push(checksum);
      if (checksum !== undefined) answer.end();
      else {
        answer.writeHead(400);
        answer.end(
          '<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters</Message></Error>',
        );
      }
    });
    await store.save(FILE, CONTENT);
    await store.save(FILE, CONTENT);
    const expected = Buffer.from(FILE.name, 'hex').toString('base64');
    expect(checksums).toEqual([undefined, expected, expected]);
  });
});

describe('a download', () => {
  test('comes whole and in parts', async () => {
    const store = await scripted(serve);
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
    const part = await store.load(FILE, { range: { offset: 1000, length: 250_000 } });
    expect(Buffer.from(part).equals(CONTENT.subarray(1000, 251_000))).toBe(true);
  });

  test('in chunks of unknown length comes whole', async () => {
    const store = await scripted((_, answer) => {
      answer.write(CONTENT.subarray(0, 100_000));
      setTimeout(() => answer.end(CONTENT.subarray(100_000)), 20);
    });
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
    const into = new Uint8Array(400_000);
    expect((await store.load(FILE, { into })).buffer).toBe(into.buffer);
    expect((await failure(store.load(FILE, { into: new Uint8Array(299_999) }))).message).toMatch(
      /do not fit/,
    );
  });

  test.each([0, 1, 150_000, 299_999])('that breaks off after %d bytes may be repeated', async (length) => {
    const store = await scripted((_, answer) => {
      answer.writeHead(200, { 'content-length': CONTENT.length });
      answer.write(CONTENT.subarray(0, length), () => setTimeout(() => answer.destroy(), 10));
      answer.flushHeaders();
    });
    const error = await failure(store.load(FILE));
    expect(error.message).toMatch(/the connection broke/);
    expect(store.isPermanent(error)).toBe(false);
  });

  test('that stands still in the middle is given up', async () => {
    const store = await scripted((_, answer) => {
      answer.writeHead(200, { 'content-length': CONTENT.length });
      answer.write(CONTENT.subarray(0, 1000));
    });
    expect((await failure(store.load(FILE))).message).toMatch(/no byte moved for 0\.8 s/);
  });

  test('that is slow but moves is not given up', async () => {
    const store = await scripted(async (_, answer) => {
      answer.writeHead(200, { 'content-length': CONTENT.length });
      for (let at = 0; at < CONTENT.length; at += 30_000) {
        answer.write(CONTENT.subarray(at, at + 30_000));
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
      answer.end();
    });
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
  });

  test('may wait for its pace longer than for the server', async () => {
    const store = await scripted(serve);
    let waited = false;
    const pace = (): Promise<void> | undefined => {
      if (waited) return undefined;
      waited = true;
      return new Promise((resolve) => setTimeout(resolve, 1200));
    };
    expect(Buffer.from(await store.load(FILE, { pace })).equals(CONTENT)).toBe(true);
  });

  test.each([
    ['the whole file', 200, {}],
    ['another part', 206, { 'content-range': `bytes 7-26/300000` }],
    ['a part of no file', 206, { 'content-range': 'nonsense' }],
  ])('of a part that is answered with %s is refused', async (_, status, headers) => {
    const store = await scripted((_request, answer) =>
      answer.writeHead(status, { 'content-length': 20, ...headers }).end(CONTENT.subarray(0, 20)),
    );
    const error = await failure(store.load(FILE, { range: { offset: 0, length: 20 } }));
    expect(error.message).toMatch(/does not answer with the part/);
    expect(store.isPermanent(error)).toBe(true);
  });

  test('of a part that comes too short may be repeated if the file is long enough', async () => {
    const store = await scripted((_, answer) =>
      answer
        .writeHead(206, { 'content-length': 20, 'content-range': 'bytes 0-19/300000' })
        .end(CONTENT.subarray(0, 20)),
    );
    const error = await failure(store.load(FILE, { range: { offset: 0, length: 30 } }));
    expect(error.message).toMatch(/20 bytes were announced instead of 30/);
    expect(store.isPermanent(error)).toBe(false);
  });

  test('that announces more than its memory holds does not write beyond it', async () => {
    const store = await scripted((_, answer) =>
      answer.writeHead(200, { 'content-length': 10 }).end(CONTENT.subarray(0, 10)),
    );
    const memory = Buffer.alloc(20, 0xee);
    expect((await failure(store.load(FILE, { into: memory.subarray(0, 9) }))).message).toMatch(/do not fit/);
    expect(memory.every((byte) => byte === 0xee)).toBe(true);
  });

  test('from something that does not speak HTTP is refused', async () => {
    const store = await raw((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'));
    const error = await failure(store.load(FILE));
    expect(error.message).toMatch(/the answer is not HTTP/);
    expect(store.isPermanent(error)).toBe(true);
  });

  test('from a server that hangs up is broken', async () => {
    const store = await raw((socket) => socket.destroy());
    const error = await failure(store.load(FILE));
    expect(error.message).toMatch(/the connection broke/);
  });
});

describe('a raw answer', () => {
  const head = 'HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n';

  /** Sends `pieces` one by one to the first connection, and serves the file properly to all further ones. */
  async function answering(pieces: readonly (string | Buffer)[]): Promise<S3Store> {
    return raw((socket, count) => {
      const rest = count === 1 ? [...pieces] : [head, CONTENT];
      const next = (): void => {
        const piece = rest.shift();
        if (piece !== undefined) socket.write(piece, () => setTimeout(next, 5));
      };
      next();
    });
  }

  test.each([
    ['a head in three pieces', [head.slice(0, 5), head.slice(5, 30), head.slice(30), CONTENT]],
    ['head and content in one piece', [Buffer.concat([Buffer.from(head), CONTENT])]],
    [
      'head with the beginning of the content',
      [Buffer.concat([Buffer.from(head), CONTENT.subarray(0, 10)]), CONTENT.subarray(10)],
    ],
    [
      'a header in lower case, with spaces',
      ['HTTP/1.1 200\r\ncontent-length:   300000  \r\nx:\r\n\r\n', CONTENT],
    ],
    [
      'a head with a very long header',
      [
        `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(60_000)}\r\nContent-Length: 300000\r\n\r\n`.slice(0, 50),
        `${'y'.repeat(100)}\r\nContent-Length: 300000\r\n\r\n`,
        CONTENT,
      ],
    ],
  ])('%s', async (_, pieces) => {
    const store = await answering(pieces);
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
  });

  test.each([
    ['HTTP/1.0', ['HTTP/1.0 200 OK\r\nContent-Length: 300000\r\n\r\n', CONTENT]],
    ['two lengths', ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 300000\r\n\r\n', CONTENT]],
    [
      'a length and chunks',
      ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'],
    ],
    ['a folded header', ['HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 300000\r\n\r\n', CONTENT]],
    ['no length', ['HTTP/1.1 200 OK\r\n\r\n', CONTENT]],
    ['an interim answer', ['HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n', head, CONTENT]],
    ['a compressed body', ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\nhello']],
    ['a head without end', [`HTTP/1.1 200 OK\r\nX: ${'y'.repeat(70_000)}`]],
  ])('%s is left to node:http, which asks again', async (_, pieces) => {
    const store = await answering(pieces);
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
  });

  test('bytes that nobody asked for end the connection and are not taken for the next answer', async () => {
    const closed = Promise.withResolvers<undefined>();
    const store = await raw((socket, count) => {
      socket.write(Buffer.concat([Buffer.from(head), CONTENT]));
      if (count > 1) return;
      socket.on('close', () => closed.resolve(undefined));
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'), 20);
    });
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
    await closed.promise;
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
  });

  test('Connection: close is kept to', async () => {
    const ports = new Set<number | undefined>();
    const store = await scripted((request, answer) => {
      ports.add(request.socket.remotePort);
      answer.writeHead(200, { 'content-length': CONTENT.length, connection: 'close' }).end(CONTENT);
    });
    for (let i = 0; i < 3; i++) expect((await store.load(FILE)).length).toBe(CONTENT.length);
    expect(ports.size).toBe(3);
  });

  test.each([
    ['with a length', (xml: string) => `Content-Length: ${xml.length}\r\n\r\n${xml}`],
    [
      'in chunks',
      (xml: string) => `Transfer-Encoding: chunked\r\n\r\n${xml.length.toString(16)}\r\n${xml}\r\n0\r\n\r\n`,
    ],
    ['until the end', (xml: string) => `Connection: close\r\n\r\n${xml}`],
    [
      'of 70 kB',
      (xml: string) => `Content-Length: ${xml.length + 70_000}\r\n\r\n${xml}${' '.repeat(70_000)}`,
    ],
  ])('an error %s is understood', async (_, bodyOf) => {
    const xml = '<Error><Code>SlowDown</Code><Message>words</Message></Error>';
    const text = `HTTP/1.1 503 Busy\r\nRetry-After: 2\r\n${bodyOf(xml)}`;
    for (const cut of [text.length, 20, text.indexOf('</Code>'), text.length - 3]) {
      const store = await raw((socket) => {
        socket.write(text.slice(0, cut));
        setTimeout(() => socket.end(text.slice(cut)), 10);
      });
      expect(await failure(store.load(FILE))).toMatchObject({
        reason: 'throttled',
        code: 'SlowDown',
        retryAfterMs: 2000,
      });
    }
  });

  test('a missing file does not cost the connection', async () => {
    const ports = new Set<number | undefined>();
    const store = await scripted((request, answer, count) => {
      ports.add(request.socket.remotePort);
      if (count % 2 === 1) fail(answer, 404, 'NoSuchKey');
      else serve(request, answer);
    });
    for (let i = 0; i < 3; i++) {
      expect(store.isMissing(await failure(store.load(FILE)))).toBe(true);
      expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
    }
    expect(ports.size).toBe(1);
  });

  test('an aborted download writes nothing more to its memory', async () => {
    const store = await raw((socket) => {
      socket.write(head);
      const timer = setInterval(() => socket.write(CONTENT.subarray(0, 1000)), 2);
      socket.on('close', () => clearInterval(timer));
    });
    const into = new Uint8Array(new SharedArrayBuffer(300_000));
    expect((await failure(store.load(FILE, { into, signal: AbortSignal.timeout(40) }))).kind).toBe(
      'cancelled',
    );
    into.fill(0xcc);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(into.every((byte) => byte === 0xcc)).toBe(true);
  });
});

describe('connections', () => {
  test('are kept and used again', async () => {
    const ports = new Set<number | undefined>();
    const store = await scripted((request, answer) => {
      ports.add(request.socket.remotePort);
      serve(request, answer);
    });
    for (let i = 0; i < 5; i++) await store.load(FILE);
    expect(ports.size).toBe(1);
  });

  test('that the server closed while idle are replaced without a failure', async () => {
    let requests = 0;
    const store = await raw((socket) => {
      requests++;
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      // Answers once; whatever comes next on this connection meets a reset.
      socket.once('data', () => socket.resetAndDestroy());
    });
    for (let i = 0; i < 4; i++) expect(Buffer.from(await store.load(FILE)).toString()).toBe('ok');
    expect(requests).toBe(4);
  });

  test('are not used again after a failure in the middle', async () => {
    const store = await scripted((request, answer, count) => {
      if (count > 1) return serve(request, answer);
      return answer.writeHead(200, { 'content-length': CONTENT.length }).write(CONTENT);
    });
    expect((await failure(store.load(FILE, { into: new Uint8Array(3) }))).message).toMatch(/do not fit/);
    expect(Buffer.from(await store.load(FILE)).equals(CONTENT)).toBe(true);
  });

  test('that are waited for do not count as standing still', async () => {
    const store = await scripted(
      async (request, answer) => {
        await buffer(request);
        setTimeout(() => serve(request, answer), 500);
      },
      { connections: 1 },
    );
    await Promise.all([
      store.save(FILE, CONTENT),
      store.save(FILE, CONTENT),
      store.load(FILE),
      store.load(FILE),
    ]);
    const stopped = [
      store.load(FILE),
      failure(store.load(FILE, { signal: AbortSignal.timeout(50) })),
    ] as const;
    expect((await stopped[1]).kind).toBe('cancelled');
    await stopped[0];
  });

  test('are no more than allowed', async () => {
    let open = 0;
    let most = 0;
    const store = await scripted(
      (request, answer) => {
        most = Math.max(most, ++open);
        setTimeout(() => {
          open--;
          serve(request, answer);
        }, 20);
      },
      { connections: 3 },
    );
    await Promise.all(Array.from({ length: 9 }, () => store.load(FILE)));
    expect(most).toBe(3);
  });
});

describe('requests through the package minio', () => {
  test.each([
    ['stat', (store: S3Store, signal?: AbortSignal) => store.stat(FILE, signal)],
    ['remove', (store: S3Store, signal?: AbortSignal) => store.remove(FILE, signal)],
    ['list', (store: S3Store, signal?: AbortSignal) => collect(store.list(['keys'], signal))],
    ['create', (store: S3Store, signal?: AbortSignal) => store.create(signal)],
  ] as const)(
    '%s keeps Retry-After, times out, can be stopped, and survives odd answers',
    async (operation, call) => {
      const busy = await scripted((_, answer) => answer.writeHead(503, { 'retry-after': '3' }).end());
      expect(await failure(call(busy))).toMatchObject({ operation, reason: 'throttled', retryAfterMs: 3000 });

      const silent = await scripted(() => undefined);
      expect(await failure(call(silent))).toMatchObject({ operation, reason: 'stalled' });
      expect(await failure(call(silent, AbortSignal.timeout(50)))).toMatchObject({
        operation,
        kind: 'cancelled',
      });

      const halfway = await scripted((_, answer) => {
        answer.writeHead(500, { 'content-length': 1000 }).write('<Error>');
        setTimeout(() => answer.destroy(), 10);
      });
      expect(await failure(call(halfway))).toMatchObject({ operation, reason: 'broken' });

      const gone = await raw((socket) => socket.destroy());
      expect(await failure(call(gone))).toMatchObject({ operation, reason: 'broken' });
    },
  );

  test('a listing that is no XML is refused, one that breaks off may be repeated', async () => {
    const portal = await scripted((_, answer) => answer.end('<html>Please log in</html>'));
    const error = await failure(collect(portal.list(['keys'])));
    expect(portal.isPermanent(error)).toBe(true);
    const broken = await scripted((_, answer) => {
      answer.writeHead(200, { 'content-length': 1000 }).write('<ListBucketResult>');
      setTimeout(() => answer.destroy(), 10);
    });
    expect(await failure(collect(broken.list(['keys'])))).toMatchObject({
      operation: 'list',
      reason: 'broken',
    });
  });

  test('the region in an answer is taken on, once', async () => {
    const scopes: string[] = [];
    const store = await scripted((request, answer) => {
      const scope =
        /Credential=access\/\d{8}\/([^/]+)\//.exec(request.headers.authorization ?? '')?.[1] ?? '';
      scopes.push(scope);
      if (scope === 'eu-central-1') return serve(request, answer);
      answer.writeHead(400);
      return answer.end(
        '<Error><Code>AuthorizationHeaderMalformed</Code><Message>x</Message><Region>eu-central-1</Region></Error>',
      );
    });
    await store.load(FILE);
    await store.load(FILE);
    expect(scopes).toEqual(['us-east-1', 'eu-central-1', 'eu-central-1']);
  });

  test('who is stopped while the region is looked up does not stop the others', async () => {
    const store = await scripted(
      (request, answer) => {
        if (request.url?.includes('location') !== true) return serve(request, answer);
        return setTimeout(() => answer.end('<LocationConstraint>eu-west-1</LocationConstraint>'), 500);
      },
      { region: undefined },
    );
    const begun = performance.now();
    const stopped = failure(store.load(FILE, { signal: AbortSignal.timeout(20) }));
    const other = store.load(FILE);
    expect((await stopped).kind).toBe('cancelled');
    expect(performance.now() - begun).toBeLessThan(400);
    expect(Buffer.from(await other).equals(CONTENT)).toBe(true);
  });

  test('with retries around it, a store survives a server in trouble', async () => {
    const kept = new Map<string, Buffer>();
    const troubled = await scripted(async (request, answer, count) => {
      const body = await buffer(request);
      if (count % 4 === 0) return fail(answer, 503, 'SlowDown');
      if (count % 4 === 1) return request.socket.destroy();
      if (request.method === 'PUT') kept.set(request.url ?? '', body);
      return answer.end(request.method === 'GET' ? kept.get(request.url ?? '') : undefined);
    });
    const store = new RetryStore(troubled, { baseMs: 1, maxMs: 5 });
    const files = Array.from({ length: 30 }, () => randomBytes(5000));
    await Promise.all(files.map((content) => store.save(handleOf('data', content), content)));
    for (const content of files) {
      expect(Buffer.from(await store.load(handleOf('data', content))).equals(content)).toBe(true);
    }
  });
});
