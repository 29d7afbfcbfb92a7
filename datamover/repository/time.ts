/**
 * Times of a repository: RFC 3339 with up to nine digits of a second and any offset, as Go writes them. They are kept as text, for
 * no `Date` holds nanoseconds, and become numbers only to be compared.
 */
const RFC3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** Nanoseconds since 1970; `undefined` where the text is no RFC 3339 time. */
export function parseTime(text: string): bigint | undefined {
  const match = RFC3339.exec(text);
  if (match === null) return undefined;
  const [
    ,
    year,
    month,
    day,
    hour,
    minute,
    second,
    fraction = '',
    sign,
    offsetHours = '0',
    offsetMinutes = '0',
  ] = match;
  // Not Date.UTC alone: it takes the years 0 to 99 for 1900 to 1999, and Go's zero time is of the year 1.
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  if (date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day)) return undefined;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined;
  const local = date.getTime() + ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1000;
  const offset = (Number(offsetHours) * 60 + Number(offsetMinutes)) * 60_000 * (sign === '-' ? -1 : 1);
  return BigInt(local - offset) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

/** A moment with this machine's offset, as restic writes it: retention counts days and weeks in the zone of the backup. */
export function formatTime(date: Date): string {
  const minutes = -date.getTimezoneOffset();
  if (minutes === 0) return date.toISOString();
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  const size = Math.abs(minutes);
  const local = new Date(date.getTime() + minutes * 60_000).toISOString().slice(0, -1);
  return `${local}${minutes < 0 ? '-' : '+'}${two(size / 60)}:${two(size % 60)}`;
}

/** Milliseconds since 1970, the nanoseconds cut off; NaN where the text is no time. */
export function epochMilliseconds(text: string): number {
  const nanoseconds = parseTime(text);
  if (nanoseconds === undefined) return NaN;
  const rest = ((nanoseconds % 1_000_000n) + 1_000_000n) % 1_000_000n;
  return Number((nanoseconds - rest) / 1_000_000n);
}

/** Orders by moment, then by text, for a stable order of equal moments in different zones. */
export function compareTimes(a: string, b: string): number {
  const [x = 0n, y = 0n] = [parseTime(a), parseTime(b)];
  if (x !== y) return x < y ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
