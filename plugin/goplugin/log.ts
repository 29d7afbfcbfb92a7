import { writeSync } from 'node:fs';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LEVELS)[number];

export function isLogLevel(text: string): text is LogLevel {
  return (LEVELS as readonly string[]).includes(text);
}

export type LogFields = Readonly<Record<string, unknown>>;

/**
 * A logger whose lines the host reads from stderr and copies into its own log: during a backup into the backup's. There every
 * `error` line makes the backup PartiallyFailed and every `warn` line counts as a warning, so `error` is for failures that
 * a call also answers with, and for nothing that may still end well.
 */
export interface Log {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log whose lines all carry these fields. */
  with(fields: LogFields): Log;
}

export interface LogOptions {
  /** Lines below it are dropped. */
  readonly level: LogLevel;
  /** Takes one whole line; stderr without it. */
  readonly write?: (line: string) => void;
}

/** The host reads lines of at most 64 KiB; a longer one reaches its log in raw pieces. */
const LINE_LIMIT = 60 * 1024;
/** A full pipe that does not block is tried again every millisecond. */
const FULL_PIPE_ATTEMPTS = 1_000;
/** hclog's own keys, and those that Velero's log takes for itself. */
const RESERVED = new Set([
  '@message',
  '@level',
  '@timestamp',
  '@module',
  'time',
  'timestamp',
  'level',
  'msg',
]);

export function createLog(options: LogOptions, fields: LogFields = {}): Log {
  const write = options.write ?? writeToStderr;
  const threshold = LEVELS.indexOf(options.level);
  const at = (level: LogLevel) => (message: string, more?: LogFields) => {
    if (LEVELS.indexOf(level) >= threshold) write(logLine(level, message, { ...fields, ...more }));
  };
  return {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (more) => createLog(options, { ...fields, ...more }),
  };
}

/**
 * One line as hclog writes JSON: `@level`, `@message`, fields. Without `@timestamp`, as Velero's own plugins: the host puts its own. A
 * value of `namespace`, `name` or `resource` that is no string would make the server panic, so every value becomes a string
 * that is not a plain number or boolean, and those of these three always.
 */
export function logLine(level: LogLevel, message: string, fields: LogFields = {}): string {
  const entry: Record<string, string | number | boolean> = { '@level': level, '@message': message };
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || RESERVED.has(key)) continue;
    const plain = typeof value === 'boolean' || Number.isFinite(value);
    entry[key] =
      plain && !/^(namespace|name|resource)$/.test(key) ? (value as number | boolean) : asText(value);
  }
  const line = JSON.stringify(entry);
  if (Buffer.byteLength(line) <= LINE_LIMIT) return `${line}\n`;
  // JSON makes at most six bytes of a UTF-16 unit.
  const short = {
    '@level': level,
    '@message': `${message.slice(0, LINE_LIMIT / 8)}…`,
    cut: 'the line was too long',
  };
  return `${JSON.stringify(short)}\n`;
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.message === '' ? value.name : value.message;
  if (typeof value === 'function' || typeof value === 'symbol') return String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}

/** Writes at once and in order, so that a line is out before the process can end. */
function writeToStderr(line: string): void {
  let rest = Buffer.from(line);
  for (let attempt = 0; attempt < FULL_PIPE_ATTEMPTS && rest.length > 0; attempt++) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch (error) {
      // The host is gone: a log line is not worth an operation.
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** Sends what Node and libraries print to the log, for a bare line on stdout would break the handshake. */
export function captureConsole(log: Log): void {
  const print =
    (level: LogLevel) =>
    (...parts: unknown[]): void =>
      log[level](parts.map(asText).join(' '), { logSource: 'console' });
  Object.assign(console, {
    ...{ trace: print('trace'), debug: print('debug'), log: print('debug'), info: print('info') },
    ...{ warn: print('info'), error: print('info'), dir: print('debug') },
  });
  process.on('warning', (warning) => log.debug(`${warning.name}: ${warning.message}`, { logSource: 'node' }));
}
