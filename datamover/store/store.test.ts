import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../e2e/servers/minio.ts';
import { startRgw } from '../../e2e/servers/rgw.ts';
import { FaultStore } from './fault.ts';
import { Limits, LimitStore } from './limit.ts';
import { LocalStore } from './local/store.ts';
import { MemoryStore } from './memory.ts';
import { RetryStore } from './retry.ts';
import { s3Subject } from './s3/testing.ts';
import { storeSuite, type Subject } from './store.suite.ts';
import type { Store } from './store.ts';
import { TraceStore } from './trace.ts';

function memory(wrap: (store: Store) => Store = (store) => store): () => Promise<Subject> {
  return async () => {
    const store = wrap(new MemoryStore());
    return { store, again: () => store };
  };
}

async function local(): Promise<Subject> {
  const folder = await mkdtemp(join(tmpdir(), 'store-'));
  const path = join(folder, 'a', 'repository');
  return {
    store: new LocalStore(path),
    again: () => new LocalStore(path),
    dispose: () => rm(folder, { recursive: true }),
  };
}

storeSuite('memory', memory());
storeSuite('local', local);
storeSuite(
  'retry',
  memory((store) => new RetryStore(store)),
);
storeSuite(
  'limit',
  memory((store) => new LimitStore(store, new Limits({ upload: 2e8, download: 2e8, requests: 2 }))),
);
storeSuite(
  'trace',
  memory((store) => new TraceStore(store)),
);
storeSuite(
  'fault',
  memory((store) => new FaultStore(store)),
);
storeSuite('retry over a failing store', memory(unlucky));
storeSuite('all wrappers over local', async () => {
  const subject = await local();
  const wrapped = (store: Store): Store =>
    new RetryStore(new LimitStore(new TraceStore(store), new Limits({ upload: 2e8, download: 2e8 })));
  return {
    ...subject,
    store: wrapped(subject.store),
    again: () => wrapped(new LocalStore(subject.store.location)),
  };
});

describePeer('minio', 'On MinIO', () => {
  storeSuite('s3', () => s3Subject(startMinio()));
  storeSuite('s3 over TLS', () => s3Subject(startMinio({ tls: true })));
  storeSuite('s3 with a prefix that needs encoding', () =>
    s3Subject(startMinio(), { prefix: "a b/c+d%20&='é!(*)~" }),
  );
  storeSuite('s3 with the bucket in the host name', () =>
    s3Subject(startMinio(), { prefix: 'p', style: 'dns' }),
  );
  storeSuite('all wrappers over s3', () =>
    s3Subject(startMinio(), { prefix: 'q' }, (store) =>
      unlucky(new LimitStore(new TraceStore(store), new Limits({ upload: 2e8, download: 2e8 }))),
    ),
  );
});

describePeer('ceph', 'On RADOS Gateway', () => {
  storeSuite('s3', () => s3Subject(startRgw()));
  storeSuite('s3 with a prefix that needs encoding', () =>
    s3Subject(startRgw(), { prefix: "a b/c+d%20&='é!(*)~" }),
  );
});

/** Every third call of each kind fails, in one of four ways, and the retry wrapper makes up for it. */
function unlucky(store: Store): Store {
  const ways = [
    { fault: 'fail' },
    { fault: 'done-but-failed' },
    { fault: 'fail', reason: 'throttled', retryAfterMs: 2 },
    { fault: 'delay', ms: 3 },
  ] as const;
  const calls = ['create', 'save', 'load', 'stat', 'list', 'remove'] as const;
  const faults = calls.flatMap((on) =>
    Array.from({ length: 40 }, (_, i) => ({ on, nth: 1 + 3 * i, ...ways[i % 4]! })),
  );
  return new RetryStore(new FaultStore(store, faults), { baseMs: 1, maxMs: 4 });
}
