/**
 * Preloaded into a process (`--import`): its clock of the day is so many milliseconds ahead of the machine's as the file WALL_CLOCK_DOUBLE
 * says at that moment. A double, for the real clock belongs to the whole machine. What nobody can set stays as it is: timers,
 * `performance.now()`.
 */
import { readFileSync } from 'node:fs';

const RealDate = Date;
const file = process.env['WALL_CLOCK_DOUBLE'] ?? '';
const jumped = (): number => RealDate.now() + Number(readFileSync(file, 'utf8'));

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: readonly unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [jumped()] : args, newTarget) as object,
  get: (target, name, receiver): unknown => (name === 'now' ? jumped : Reflect.get(target, name, receiver)),
});
