import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { run } from '../datamover/process/spawn.ts';
import { serviceDefinition } from './service.ts';

/** The checkout's proto/, seen from the compiled tree. */
const SOURCES = fileURLToPath(new URL('../../proto/', import.meta.url));

test('wire.ts is what generate.mjs makes of the .proto files', async () => {
  const { stdout } = await run({ file: process.execPath, args: [`${SOURCES}generate.mjs`, '--print'] });
  expect(stdout).toBe(await readFile(`${SOURCES}wire.ts`, 'utf8'));
});

describe('the bytes on the wire', () => {
  test('paths carry the package that Velero chose', () => {
    expect(serviceDefinition('v2.BackupItemAction').Execute.path).toBe('/v2.BackupItemAction/Execute');
    expect(serviceDefinition('generated.RestoreItemAction').Execute.path).toBe(
      '/generated.RestoreItemAction/Execute',
    );
    expect(serviceDefinition('plugin.GRPCController').Shutdown.path).toBe('/plugin.GRPCController/Shutdown');
  });

  test('field numbers and types are Velero’s', () => {
    const { responseSerialize } = serviceDefinition('v2.BackupItemAction').Execute;
    const bytes = responseSerialize({
      item: Buffer.from('{}'),
      additionalItems: [],
      operationID: 'op',
      postOperationItems: [{ group: 'g', resource: 'r', namespace: '', name: 'n' }],
    });
    // Tags: item 1, operationID 3, postOperationItems 4; in there group 1, resource 2, (namespace 3,) name 4; all with lengths.
    expect(bytes.toString('latin1')).toBe('\x0a\x02{}\x1a\x02op\x22\x0b\x0a\x01g\x12\x01r\x1a\x00\x22\x01n');
  });

  test('progress keeps bytes beyond 2^32 and Go’s zero time', () => {
    const { responseSerialize, responseDeserialize } = serviceDefinition('v2.BackupItemAction').Progress;
    const progress = {
      ...{ completed: false, err: '', operationUnits: 'Bytes', description: '' },
      ...{ nCompleted: 5_000_000_000_000, nTotal: 9_007_199_254_740_991 },
      started: { seconds: -62_135_596_800, nanos: 0 },
      updated: null,
    };
    expect(responseDeserialize(responseSerialize({ progress }))).toEqual({ progress });
  });

  test('a field that was not sent is its type’s zero', () => {
    const { requestDeserialize } = serviceDefinition('generated.ObjectStore').PutObject;
    const { plugin, body } = requestDeserialize(Buffer.alloc(0));
    expect(plugin).toBe('');
    expect(body).toHaveLength(0);
  });

  test('an unknown field of a newer Velero is passed over', () => {
    const { requestDeserialize } = serviceDefinition('generated.ObjectStore').DeleteObject;
    const bytes = Buffer.concat([Buffer.from('\x0a\x01p', 'latin1'), Buffer.from('\xaa\x06\x01x', 'latin1')]);
    expect(requestDeserialize(bytes)).toEqual({ plugin: 'p', bucket: '', key: '' });
  });
});
