import { destination, pino, stdTimeFunctions, type Logger } from 'pino';
import type { LogLevel } from './component-flags.ts';

/** JSON lines on standard error, written before the call returns: the last words of a process that dies are what one wants to read. */
export function componentLog(component: string, level: LogLevel, more: Record<string, string> = {}): Logger {
  return pino(
    {
      level,
      base: { component, ...more },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ dest: 2, sync: true }),
  );
}
