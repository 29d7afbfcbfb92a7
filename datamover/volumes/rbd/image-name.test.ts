import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatImageName, nameOptions, parseImageName } from './image-name.ts';

const part = fc.stringMatching(/^[A-Za-z0-9_.][A-Za-z0-9_.:+-]{0,20}$/).filter((text) => text.length > 0);

describe('names of images', () => {
  test('are read as they are written', () => {
    const names = fc.record(
      { pool: part, image: part, namespace: part, snap: part },
      { requiredKeys: ['pool', 'image'] },
    );
    fc.assert(
      fc.property(names, (name) => {
        expect(parseImageName(formatImageName(name))).toEqual(name);
      }),
    );
  });

  test('go to commands part by part', () => {
    expect(nameOptions(parseImageName('p/ns/i@s'))).toEqual([
      '--pool',
      'p',
      '--image',
      'i',
      '--namespace',
      'ns',
      '--snap',
      's',
    ]);
    expect(nameOptions(parseImageName('p/i'))).toEqual(['--pool', 'p', '--image', 'i']);
  });

  test.each([
    ['image', /it is not of the form pool\/image/],
    ['a/b/c/d', /it is not of the form/],
    ['p/i@s@t', /it is not of the form/],
    ['p/', /its image is ""/],
    ['p//i', /its namespace is ""/],
    ['p/i@', /its snap is ""/],
    ['p/--help', /its image is "--help" \(letters, digits and/],
    ['-p/i', /its pool is "-p"/],
    ['p/i@-s', /its snap is "-s"/],
    ['p/$(id)', /its image is "\$\(id\)"/],
    ['p/i j', /its image is "i j"/],
    ['p/i\n', /its image is "i\\n"/],
    ['p/ï', /its image is "ï"/],
    [`p/${'i'.repeat(256)}`, /its image is "iii/],
  ])('%j is refused', (text, sentence) => {
    expect(() => parseImageName(text)).toThrow(sentence);
    try {
      parseImageName(text);
    } catch (error) {
      expect(error).toMatchObject({ kind: 'usage' });
    }
  });
});
