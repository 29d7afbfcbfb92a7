/** A span in calendar units, as restic writes it: `1y5m7d2h`. There are no weeks, minutes or seconds. */
export interface Duration {
  readonly years: number;
  readonly months: number;
  readonly days: number;
  readonly hours: number;
}

const UNITS = { y: 'years', m: 'months', d: 'days', h: 'hours' } as const;

/** Reads `1y5m7d2h`; parts in any order, the last of one unit counts, numbers may be negative. Throws RangeError. */
export function parseDuration(text: string): Duration {
  const span = { years: 0, months: 0, days: 0, hours: 0 };
  let rest = text.trim();
  while (rest !== '') {
    const part = /^(-?\d+)([ymdh])/.exec(rest);
    if (part === null) {
      throw new RangeError(`"${text}" is not a duration: write years, months, days and hours like 1y5m7d2h`);
    }
    span[UNITS[part[2] as keyof typeof UNITS]] = Number(part[1]);
    rest = rest.slice(part[0].length);
  }
  return span;
}

/** The inverse of parseDuration, in the order years, months, days, hours, without the zeros. */
export function formatDuration(span: Duration): string {
  return Object.entries(UNITS)
    .map(([unit, field]) => (span[field] === 0 ? '' : `${span[field]}${unit}`))
    .join('');
}

export function isZero(span: Duration): boolean {
  return span.years === 0 && span.months === 0 && span.days === 0 && span.hours === 0;
}
