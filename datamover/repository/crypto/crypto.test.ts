import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isAuthentic, mac, open, openUnchecked, seal, sealInto, SEAL_OVERHEAD } from './cipher.ts';
import { checkKdf, DEFAULT_KDF, deriveKey, splitKey } from './kdf.ts';
import { poly1305 } from './openssl.ts';
import { poly1305Plain } from './poly1305-plain.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const KEY = splitKey(new Uint8Array(64).map((_, i) => i * 3 + 1));

describe.each([
  ['OpenSSL', poly1305],
  ['plain', poly1305Plain],
] as const)('Poly1305, %s form', (_, mac) => {
  const ietf =
    'Any submission to the IETF intended by the Contributor for publication as all or part of an IETF Internet-Draft or RFC ' +
    'and any statement made within the context of an IETF activity is considered an "IETF Contribution". Such statements ' +
    'include oral statements in IETF sessions, as well as written and electronic communications made at any time or place, ' +
    'which are addressed to';
  const s = '36e5f6b5c5e06070f0efca96227a863e';
  const one = `01${'00'.repeat(15)}`;
  const two = `02${'00'.repeat(15)}`;
  const zero = '00'.repeat(16);
  test.each([
    [
      'section 2.5.2',
      '85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b',
      toHex(Buffer.from('Cryptographic Forum Research Group')),
      'a8061dc1305136c6c22b8baf0c0127a9',
    ],
    ['A.3 #1', zero + zero, '00'.repeat(64), zero],
    ['A.3 #2', zero + s, toHex(Buffer.from(ietf)), s],
    ['A.3 #3', s + zero, toHex(Buffer.from(ietf)), 'f3477e7cd95417af89a6b8794c310cf0'],
    ['A.3 #7', two + zero, 'ff'.repeat(16), `03${'00'.repeat(15)}`],
    ['A.3 #8', two + 'ff'.repeat(16), two, `03${'00'.repeat(15)}`],
    [
      'A.3 #9',
      one + zero,
      `${'ff'.repeat(16)}f0${'ff'.repeat(15)}11${'00'.repeat(15)}`,
      `05${'00'.repeat(15)}`,
    ],
    ['A.3 #10', one + zero, `${'ff'.repeat(16)}fb${'fe'.repeat(15)}${'01'.repeat(16)}`, zero],
    ['A.3 #11', two + zero, `fd${'ff'.repeat(15)}`, `fa${'ff'.repeat(15)}`],
  ])('RFC 8439 %s', (_name, key, message, tag) => {
    expect(toHex(mac(hex(message), hex(key)))).toBe(tag);
  });

  test('refuses a key of another length', () => {
    expect(() => mac(new Uint8Array(1), new Uint8Array(31))).toThrow('32 bytes');
  });
});

test('Poly1305: OpenSSL and the plain form agree on any message, also a long one', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      (message, key) => {
        expect(toHex(poly1305(message, key))).toBe(toHex(poly1305Plain(message, key)));
      },
    ),
  );
  // The expected tag was computed with Python's integers: the plain form would need seconds.
  const long = new Uint8Array(17 * 1024 * 1024).fill(7);
  expect(toHex(poly1305(long, hex('0f'.repeat(32))))).toBe('b74e7316f186b890a59f1ce98cae2c11');
});

describe('Poly1305-AES, vectors of the original paper (appendix B)', () => {
  test.each([
    [
      'f3f6',
      '851fc40c3467ac0be05cc20404f3f700',
      'ec074c835580741701425b623235add6',
      'fb447350c4e868c52ac3275cf9d4327e',
      'f4c633c3044fc145f84f335cb81953de',
    ],
    [
      '',
      'a0f3080000f46400d0c7e9076c834403',
      '75deaa25c09f208e1dc4ce6b5cad3fbf',
      '61ee09218d29b0aaed7e154a2c5509cc',
      'dd3fab2251f11ac759f0887129cc2ee7',
    ],
    [
      '663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136',
      '48443d0bb0d21109c89a100b5ce2c208',
      '6acb5f61a7176dd320c5c1eb2edcdc74',
      'ae212a55399729595dea458bc621ff0e',
      '0ee1c16bb73f0f4fd19881753c01cdbe',
    ],
    [
      'ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0990c62e48b8018b2c3e4a0fa3134cb67fa83e158c994d961c4cb21095c1bf9',
      '12976a08c4426d0ce8a82407c4f48207',
      'e1a5668a4d5b66a5f68cc5424ed5982d',
      '9ae831e743978d3a23527c7128149e3a',
      '5154ad0d2cb26e01274fc51148491f1b',
    ],
  ])('message %s', (message, r, k, nonce, tag) => {
    const key = { encrypt: new Uint8Array(32), macK: hex(k), macR: hex(r) };
    expect(toHex(mac(key, hex(nonce), hex(message)))).toBe(tag);
  });
});

describe('sealed bytes', () => {
  test('F-02 are nonce, AES-256-CTR ciphertext and tag (NIST SP 800-38A F.5.5)', () => {
    const key = { ...KEY, encrypt: hex('603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4') };
    const nonce = hex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
    const ciphertext = hex(
      '601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5 2b0930daa23de94ce87017ba2d84988d dfc9c58db67aada613c2dd08457941a6',
    );
    const sealed = Buffer.concat([nonce, ciphertext, mac(key, nonce, ciphertext)]);
    const plain =
      '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710';
    expect(toHex(open(key, sealed))).toBe(plain);
    expect(toHex(openUnchecked(key, sealed))).toBe(plain);
  });

  test('open again to what went in, with a nonce of their own each time', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (plain) => {
        const sealed = seal(KEY, plain);
        expect(sealed.length).toBe(plain.length + SEAL_OVERHEAD);
        expect(open(KEY, sealed)).toEqual(new Uint8Array(plain));
        expect(toHex(seal(KEY, plain))).not.toBe(toHex(sealed));
      }),
    );
  });

  test('F-02 do not open once any bit is changed, cut off or added', () => {
    const sealed = seal(KEY, Buffer.from('every bit counts'));
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Uint8Array.from(sealed);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(isAuthentic(KEY, changed)).toBe(false);
    }
    expect(() => open(KEY, sealed.subarray(0, -1), 'thing')).toThrow(/^decrypt thing: .*does not match/);
    expect(() => open(KEY, Buffer.concat([sealed, Buffer.alloc(1)]))).toThrow('does not match');
    expect(() => open(KEY, sealed.subarray(0, 31))).toThrow('31 bytes are too few');
    expect(() => openUnchecked(KEY, new Uint8Array(0))).toThrow('0 bytes are too few');
    expect(() => open({ ...KEY, macK: KEY.macR }, sealed)).toThrow('does not match');
  });

  test('go into shared memory, and nowhere if it is too small', () => {
    const plain = Buffer.from('shared');
    const target = new Uint8Array(new SharedArrayBuffer(plain.length + SEAL_OVERHEAD));
    expect(sealInto(KEY, plain, target)).toBe(target.length);
    expect(Buffer.from(open(KEY, target)).toString()).toBe('shared');
    expect(() => sealInto(KEY, plain, target.subarray(1))).toThrow(RangeError);
  });
});

describe('key derivation', () => {
  test.each([
    [
      'password',
      'NaCl',
      { N: 1024, r: 8, p: 16 },
      'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640',
    ],
    [
      'pleaseletmein',
      'SodiumChloride',
      { N: 16384, r: 8, p: 1 },
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
    ],
  ])('is scrypt (RFC 7914, section 12): %s', async (password, salt, parameters, expected) => {
    expect(await deriveKey(password, Buffer.from(salt), parameters)).toEqual(splitKey(hex(expected)));
  });

  test('masks r as Poly1305 wants it', () => {
    expect(toHex(splitKey(new Uint8Array(64).fill(0xff)).macR)).toBe('ffffff0ffcffff0ffcffff0ffcffff0f');
  });

  test.each([
    ['N no power of two', { N: 1000, r: 8, p: 1 }],
    ['N of one', { N: 1, r: 8, p: 1 }],
    ['a fraction', { N: 1024, r: 8.5, p: 1 }],
    ['nothing', { N: 1024, r: 0, p: 1 }],
    ['a negative p', { N: 1024, r: 8, p: -1 }],
    ['more rounds than blocks of this size allow', { N: 65536, r: 1, p: 3 }],
    ['16 GiB of memory', { N: 2 ** 24, r: 8, p: 1 }],
    ['hours of work', { N: 32768, r: 8, p: 4096 }],
    ['a huge r', { N: 2, r: 2 ** 40, p: 1 }],
    ['a huge p', { N: 2, r: 1, p: 2 ** 40 }],
  ])('F-05 refuses a key file that asks for %s', (_, parameters) => {
    expect(() => checkKdf(parameters, new Uint8Array(64), 'key 1234')).toThrow(/^derive key key 1234: /);
  });

  test('F-05 refuses a salt that cannot be one, and takes the defaults of restic, rustic and ours', () => {
    expect(() => checkKdf(DEFAULT_KDF, new Uint8Array(0), 'key')).toThrow('salt of 0 bytes');
    expect(() => checkKdf(DEFAULT_KDF, new Uint8Array(5000), 'key')).toThrow('salt of 5000 bytes');
    for (const parameters of [DEFAULT_KDF, { N: 32768, r: 8, p: 9 }, { N: 131072, r: 8, p: 1 }]) {
      expect(() => checkKdf(parameters, new Uint8Array(64), 'key')).not.toThrow();
    }
  });
});
