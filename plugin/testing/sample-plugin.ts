import { setTimeout as delay } from 'node:timers/promises';
import { AskAgain, type RegisteredAction } from '../actions/contract.ts';
import { runPlugin } from '../run.ts';

/** A plugin of ours whose actions do what the test's item says, to see every outcome on the wire. */
const stored = new Map<string, Buffer[]>();

const actions: readonly RegisteredAction[] = [
  {
    kind: 'BackupItemActionV2',
    name: 'datamover.io/sample',
    timeLimit: 2_000,
    appliesTo: () => ({ includedResources: ['configmaps'], selector: 'app=sample' }),
    async execute(item, backup, { log, signal }) {
      const wish = item.metadata.annotations?.['wish'] ?? '';
      if (wish === 'fail') throw new Error('read volume data/pvc-1:\n  no such image');
      if (wish === 'hang') await delay(60_000, undefined, { signal });
      if (wish === 'crash') void delay(0).then(() => Promise.reject(new Error('a bug')));
      if (wish === 'log') {
        log.warn('careful', { namespace: 7, pvc: { name: 'a' }, cause: new Error('why'), level: 'x' });
        console.log('a library speaks', { of: 'something' });
        process.emitWarning('old API');
        log.debug('x'.repeat(100_000));
      }
      if (wish === 'stdout') process.stdout.write('not for stdout\n');
      if (wish === 'same') return {};
      const annotations = { ...item.metadata.annotations, backup: backup.metadata.name };
      return {
        item: { ...item, metadata: { ...item.metadata, annotations } },
        additionalItems: [{ group: '', resource: 'secrets', namespace: 'a', name: 'b' }],
        operationID: 'op-1',
        postOperationItems: [{ group: 'g', resource: 'r', name: 'n' }],
      };
    },
    async progress(operationID) {
      if (operationID === 'away') throw new AskAgain('the API server is away');
      if (operationID === 'unknown') throw new Error('there is no operation unknown');
      if (operationID === 'failed') return { state: 'failed', message: '' };
      const state = operationID === 'done' ? 'completed' : 'running';
      return { state, description: 'Uploading', done: 5e12, total: 6e12, started: new Date(1_500) };
    },
    async cancel(operationID) {
      if (operationID !== 'op-1') throw new Error(`there is no operation ${operationID}`);
    },
  },
  {
    kind: 'ObjectStore',
    name: 'datamover.io/memory',
    async open() {
      return {
        async put(bucket, key, body) {
          const parts: Buffer[] = [];
          for await (const part of body) parts.push(part);
          stored.set(`${bucket}/${key}`, parts);
        },
        exists: async (bucket, key) => stored.has(`${bucket}/${key}`),
        async get(bucket, key) {
          const found = stored.get(`${bucket}/${key}`);
          if (found === undefined) throw new Error(`there is no object ${key}`);
          return (async function* () {
            yield* found;
            if (key === 'breaks') throw new Error('the connection broke');
          })();
        },
        listCommonPrefixes: async () => [],
        listObjects: async () => [...stored.keys()],
        async delete(bucket, key) {
          stored.delete(`${bucket}/${key}`);
        },
        signedUrl: async (bucket, key, seconds) => `memory:${bucket}/${key}?for=${seconds}`,
      };
    },
  },
];

runPlugin(actions);
