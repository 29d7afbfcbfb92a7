import { constants } from 'node:zlib';
import { native } from '../process/native.ts';

/**
 * zstd's public functions (zstd.h, stable since 1.4) in the node executable, called where they stand: into memory that is there
 * already, with a context that lives as long as its thread. `node:zlib` makes both anew for every blob. A node executable that
 * has zstd as a library of its own may not show them: then `native()` is undefined, and compression.ts does without.
 */
type Pointer = Uint8Array | object | null;

interface Functions {
  readonly setParameter: (context: Pointer, parameter: number, value: number) => number | bigint;
  readonly resetCompressor: (context: Pointer, directive: number) => number | bigint;
  readonly compress: (
    context: Pointer,
    to: Uint8Array,
    room: number,
    from: Uint8Array,
    length: number,
  ) => number | bigint;
  readonly decompress: (
    context: Pointer,
    to: Uint8Array,
    room: number,
    from: Uint8Array,
    length: number,
  ) => number | bigint;
  readonly decompressStream: (
    context: Pointer,
    output: BigUint64Array,
    input: BigUint64Array,
  ) => number | bigint;
  readonly resetDecompressor: (context: Pointer, directive: number) => number | bigint;
  readonly isError: (code: number | bigint) => number;
  readonly errorName: (code: number | bigint) => string;
  readonly compressor: Pointer;
  readonly decompressor: Pointer;
}

/** ZSTD_reset_session_only, ZSTD_reset_session_and_parameters */
const RESET_SESSION = 1;
const RESET_ALL = 3;
/** What is decompressed before it is compared: it stays in the cache. */
const PIECE_BYTES = 128 << 10;

export interface NativeZstd {
  /** One frame that declares its content size; the answer is its length. `to` has room for the worst case. */
  compress(
    from: Uint8Array,
    to: Uint8Array,
    level: number,
    parameters: Readonly<Record<number, number>>,
  ): number;
  /** The length of what `from` holds, which must be one or more whole frames and fit into `to`. */
  decompress(from: Uint8Array, to: Uint8Array): number;
  /** Whether one whole frame is `plain` and nothing more; needs memory for a window and no more, however long it is. */
  isFrameOf(frame: Uint8Array, plain: Uint8Array): boolean;
}

let loaded: NativeZstd | undefined;
let tried = false;

/** This thread's functions; undefined where the executable does not show them. */
export function nativeZstd(): NativeZstd | undefined {
  if (!tried) {
    tried = true;
    try {
      loaded = open();
    } catch {
      loaded = undefined;
    }
  }
  return loaded;
}

function open(): NativeZstd {
  const library = native().load(null);
  const newCompressor = library.func('void *ZSTD_createCCtx()');
  const newDecompressor = library.func('void *ZSTD_createDCtx()');
  const functions: Functions = {
    setParameter: library.func('size_t ZSTD_CCtx_setParameter(void *context, int parameter, int value)'),
    resetCompressor: library.func('size_t ZSTD_CCtx_reset(void *context, int directive)'),
    compress: library.func(
      'size_t ZSTD_compress2(void *context, void *to, size_t room, void *from, size_t length)',
    ),
    decompress: library.func(
      'size_t ZSTD_decompressDCtx(void *context, void *to, size_t room, void *from, size_t length)',
    ),
    decompressStream: library.func('size_t ZSTD_decompressStream(void *context, void *output, void *input)'),
    resetDecompressor: library.func('size_t ZSTD_DCtx_reset(void *context, int directive)'),
    isError: library.func('unsigned int ZSTD_isError(size_t code)'),
    errorName: library.func('const char *ZSTD_getErrorName(size_t code)'),
    compressor: newCompressor() as Pointer,
    decompressor: newDecompressor() as Pointer,
  };
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  const demand = (code: number | bigint): number => {
    if (functions.isError(code) !== 0) throw new Error(functions.errorName(code));
    return Number(code);
  };
  return {
    compress(from, to, level, parameters) {
      const { compressor } = functions;
      demand(functions.resetCompressor(compressor, RESET_ALL));
      demand(functions.setParameter(compressor, constants.ZSTD_c_compressionLevel, level));
      for (const [parameter, value] of Object.entries(parameters)) {
        demand(functions.setParameter(compressor, Number(parameter), value));
      }
      return demand(functions.compress(compressor, to, to.length, from, from.length));
    },
    decompress: (from, to) =>
      demand(functions.decompress(functions.decompressor, to, to.length, from, from.length)),
    isFrameOf(frame, plain) {
      const { decompressor } = functions;
      demand(functions.resetDecompressor(decompressor, RESET_SESSION));
      // ZSTD_inBuffer and ZSTD_outBuffer: address, size, position.
      const input = BigUint64Array.of(native().address(frame), BigInt(frame.length), 0n);
      const output = BigUint64Array.of(native().address(piece), BigInt(piece.length), 0n);
      for (let at = 0; ;) {
        const before = input[2];
        output[2] = 0n;
        const left = demand(functions.decompressStream(decompressor, output, input));
        const got = Number(output[2]);
        if (piece.subarray(0, got).compare(plain.subarray(at, at + got)) !== 0) return false;
        at += got;
        if (left === 0) return at === plain.length && input[2] === BigInt(frame.length);
        // A frame that is cut off.
        if (got === 0 && input[2] === before) return false;
      }
    },
  };
}
