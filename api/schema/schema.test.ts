import { describe, expect, test } from '@jest/globals';
import { column, customResourceDefinition, kind } from './kind.ts';
import {
  boolean,
  count,
  enumOf,
  immutable,
  list,
  listBy,
  map,
  object,
  optional,
  string,
  timestamp,
  withDefault,
  type TypeOf,
} from './schema.ts';

const parent = object('A thing.', {
  name: immutable(string('Its name.')),
  colour: immutable(optional(enumOf('Its colour.', ['red', 'blue']))),
  size: withDefault(count('Its size.', { maximum: 9 }), 1),
  made: optional(timestamp('When.')),
});

describe('the words of a schema', () => {
  test('give the TypeScript type that the schema describes', () => {
    const least: TypeOf<typeof parent> = { name: 'a', size: 1 };
    const most: TypeOf<typeof parent> = { ...least, colour: 'red', made: '2026-11-25T00:00:00Z' };
    const things = listBy('name', 'Things.', parent, 4);
    const both: TypeOf<typeof things> = [least, most];
    // @ts-expect-error A defaulted field is there for who reads.
    const without: TypeOf<typeof parent> = { name: 'a' };
    // @ts-expect-error Not one of the words.
    const green: TypeOf<typeof parent> = { name: 'a', size: 1, colour: 'green' };
    // @ts-expect-error Not a key of the items.
    const byWeight = listBy('weight', 'Things.', parent, 4);
    expect([both, without, green, byWeight, things.openapi.maxItems]).toHaveLength(5);
  });

  test('require what is neither optional nor has a default', () => {
    expect(parent.openapi.required).toEqual(['name']);
    expect(object('Nothing needed.', { on: optional(boolean('Whether.')) }).openapi).not.toHaveProperty(
      'required',
    );
  });

  test('put the rule of an immutable field on the object around it', () => {
    expect(parent.openapi['x-kubernetes-validations']).toEqual([
      { rule: 'self.name == oldSelf.name', message: 'name cannot be changed: make a new object' },
      {
        rule: 'has(self.colour) == has(oldSelf.colour) && (!has(self.colour) || self.colour == oldSelf.colour)',
        message: 'colour cannot be changed: make a new object',
      },
    ]);
  });

  test('say how lists and maps merge', () => {
    expect(list('Words.', string('A word.'), 3).openapi).toMatchObject({
      maxItems: 3,
      'x-kubernetes-list-type': 'atomic',
    });
    expect(listBy('name', 'Things.', parent, 3).openapi).toMatchObject({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
    });
    expect(map('Labels.', string('A value.')).openapi.additionalProperties?.type).toBe('string');
  });

  test('leave no field without a description or a bound', () => {
    expect(string('A word.').openapi.maxLength).toBe(1024);
    expect(parent.openapi.properties?.['size']).toEqual({
      ...{ type: 'integer', format: 'int64', description: 'Its size.' },
      ...{ minimum: 0, maximum: 9, default: 1 },
    });
  });
});

test('a kind without a status has no status subresource', () => {
  const thing = kind({
    ...{ group: 'example.org', version: 'v1', kind: 'Thing', plural: 'things', shortNames: [] },
    ...{ scope: 'Cluster', description: 'A thing.', spec: parent },
    columns: [column('Name', '.spec.name')],
  });
  const { spec } = customResourceDefinition(thing) as { spec: { versions: readonly object[] } };
  expect(spec.versions[0]).not.toHaveProperty('subresources');
  expect(spec.versions[0]).toHaveProperty('additionalPrinterColumns', [
    { name: 'Name', jsonPath: '.spec.name', type: 'string' },
  ]);
});
