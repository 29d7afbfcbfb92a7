/**
 * Points in time as snapshots carry them: an instant with nanoseconds and the zone offset it was written with. Retention looks at
 * the clock on the wall of whoever made the snapshot, as restic does, so the offset must not be normalised away.
 */
export interface Moment {
  /** Whole seconds since 1970-01-01T00:00:00Z. */
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanos: number;
  /** Seconds east of Greenwich. */
  readonly offset: number;
}

/** The offset in seconds east of Greenwich that a place has at an instant given in seconds since 1970. */
export type Zone = (seconds: number) => number;

/** The zone of this process (environment variable TZ, else the machine's). */
export const localZone: Zone = (seconds) => -60 * new Date(seconds * 1000).getTimezoneOffset();

/** Year, month (1-12), day, hour as read from a wall clock. */
export interface WallClock {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
}

const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/** Reads RFC 3339 with up to nanoseconds. Throws RangeError with the text when it is something else. */
export function parseMoment(text: string): Moment {
  const match = RFC3339.exec(text);
  if (match === null)
    throw new RangeError(`"${text}" is not a time like 2006-01-02T15:04:05.999999999+07:00`);
  const [, year, month, day, hour, minute, second, fraction, sign, offsetHours, offsetMinutes] = match;
  const offset = (sign === '-' ? -60 : 60) * (60 * Number(offsetHours ?? 0) + Number(offsetMinutes ?? 0));
  const wall = utcSeconds(Number(year), Number(month), Number(day)) + clockSeconds(hour, minute, second);
  if (!isCalendarDay(Number(year), Number(month), Number(day)) || Number(hour) > 23 || Number(minute) > 59) {
    throw new RangeError(`"${text}" names a time that no calendar has`);
  }
  return {
    seconds: wall - offset,
    nanos: Number((fraction ?? '').padEnd(9, '0')),
    offset: offset === 0 ? 0 : offset,
  };
}

export function compareMoments(a: Moment, b: Moment): number {
  return a.seconds - b.seconds || a.nanos - b.nanos;
}

export function momentOf(date: Date): Moment {
  const milliseconds = date.getTime();
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanos: (milliseconds - seconds * 1000) * 1_000_000, offset: 0 };
}

export function wallClock(moment: Moment): WallClock {
  const date = new Date((moment.seconds + moment.offset) * 1000);
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
  };
}

/** The ISO 8601 week: weeks begin on Monday, and week 1 is the one with the year's first Thursday. */
export function isoWeek(moment: Moment): { year: number; week: number } {
  const { year, month, day } = wallClock(moment);
  const days = utcSeconds(year, month, day) / 86_400;
  const weekday = (((days + 3) % 7) + 7) % 7; // Monday 0; 1970-01-01 was a Thursday
  const thursday = new Date((days - weekday + 3) * 86_400_000);
  const newYear = utcSeconds(thursday.getUTCFullYear(), 1, 1) / 86_400;
  return { year: thursday.getUTCFullYear(), week: 1 + Math.floor((days - weekday + 3 - newYear) / 7) };
}

/**
 * Goes back by calendar years, months and days on the wall clock of `zone`, then by hours of elapsed time. A day that the month does
 * not have flows into the next month (31 March less one month is 3 March, or 2 March in a leap year), which is restic's reckoning.
 */
export function subtract(
  moment: Moment,
  span: { years: number; months: number; days: number; hours: number },
  zone: Zone,
): Moment {
  const { year, month, day } = wallClock(moment);
  const timeOfDay = (((moment.seconds + moment.offset) % 86_400) + 86_400) % 86_400;
  const wall = utcSeconds(year - span.years, month - span.months, day - span.days) + timeOfDay;
  // Wall clock to instant: guess the offset as if the wall time were UTC, then ask again at the instant that follows from it.
  const guess = zone(wall);
  const offset = guess === 0 ? 0 : zone(wall - guess);
  return { ...moment, seconds: wall - offset - span.hours * 3600, offset };
}

/** Midnight UTC of a day in seconds since 1970; months and days out of range carry over. */
function utcSeconds(year: number, month: number, day: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // unlike Date.UTC, years 0 to 99 stay as they are
  return date.getTime() / 1000;
}

function clockSeconds(hour = '', minute = '', second = ''): number {
  return Number(hour) * 3600 + Number(minute) * 60 + Number(second);
}

function isCalendarDay(year: number, month: number, day: number): boolean {
  const date = new Date(utcSeconds(year, month, day) * 1000);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}
