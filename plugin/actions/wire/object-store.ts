import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import type { ServerReadableStream, ServerWritableStream } from '@grpc/grpc-js';
import type { Handlers } from '../../../proto/service.ts';
import type { Messages } from '../../../proto/wire.ts';
import type { ObjectStore, ObjectStoreProvider } from '../contract.ts';
import { dispatcher, failure, unary, type Site } from './call.ts';

interface OpenStore {
  readonly name: string;
  readonly store: ObjectStore;
}

type PutRequest = Messages['generated.PutObjectRequest'];

/** Velero opens the store (Init) before it asks for anything, in every process anew. */
export function objectStores(
  providers: readonly ObjectStoreProvider[],
  site: Site,
): Handlers<'generated.ObjectStore'> {
  const provider = dispatcher(providers, 'ObjectStore');
  const opened = new Map<string, OpenStore>();
  const find = (name: string): OpenStore => {
    const found = opened.get(provider(name).name);
    if (found === undefined) throw new Error(`${name} was asked for an object before it was initialized`);
    return found;
  };
  return {
    Init: unary(provider, site, async (found, { config }, { log }) => {
      opened.set(found.name, { name: found.name, store: await found.open(config, log) });
      return {};
    }),
    PutObject(call, reply) {
      put(call, find).then(
        () => reply(null, {}),
        (error: unknown) => reply(failure(error)),
      );
    },
    ObjectExists: unary(find, site, async ({ store }, { bucket, key }) => ({
      exists: await store.exists(bucket, key),
    })),
    GetObject(call) {
      get(call, find).catch((error: unknown) => call.emit('error', failure(error)));
    },
    ListCommonPrefixes: unary(find, site, async ({ store }, { bucket, prefix, delimiter }) => ({
      prefixes: await store.listCommonPrefixes(bucket, prefix, delimiter),
    })),
    ListObjects: unary(find, site, async ({ store }, { bucket, prefix }) => ({
      keys: await store.listObjects(bucket, prefix),
    })),
    DeleteObject: unary(find, site, async ({ store }, { bucket, key }) => {
      await store.delete(bucket, key);
      return {};
    }),
    CreateSignedURL: unary(find, site, async ({ store }, { bucket, key, ttl }) => ({
      url: await store.signedUrl(bucket, key, Math.ceil(ttl / 1e9)),
    })),
  };
}

/** Every message of the stream repeats where it goes; an empty object may come as no message with a body. */
async function put(
  call: ServerReadableStream<PutRequest, unknown>,
  find: (name: string) => OpenStore,
): Promise<void> {
  const hungUp = new AbortController();
  call.on('cancelled', () => hungUp.abort(new Error('Velero hung up')));
  const messages = (call as AsyncIterable<PutRequest>)[Symbol.asyncIterator]();
  const first = await messages.next();
  if (first.done === true) throw new Error('Velero did not say where the object goes');
  const { plugin, bucket, key, body } = first.value;
  async function* bodies(): AsyncGenerator<Buffer> {
    if (body.length > 0) yield body;
    for (let next = await messages.next(); next.done !== true; next = await messages.next())
      yield next.value.body;
    // A host that went away ends the stream as if the object were whole; grpc-js tells of it a moment later.
    await setImmediate();
    hungUp.signal.throwIfAborted();
  }
  await find(plugin).store.put(bucket, key, bodies(), hungUp.signal);
}

async function get(
  call: ServerWritableStream<Messages['generated.GetObjectRequest'], Messages['generated.Bytes']>,
  find: (name: string) => OpenStore,
): Promise<void> {
  const hungUp = new AbortController();
  call.on('cancelled', () => hungUp.abort(new Error('Velero hung up')));
  const { plugin, bucket, key } = call.request;
  for await (const data of await find(plugin).store.get(bucket, key, hungUp.signal)) {
    if (!call.write({ data })) await once(call, 'drain', { signal: hungUp.signal });
  }
  call.end();
}
