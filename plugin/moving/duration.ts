const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration as Go prints it, `1h30m`; undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  if (!/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, number = '', unit = ''] of text.matchAll(/([0-9.]+)(ms|s|m|h)/g))
    total += Number(number) * (UNITS[unit] ?? 0);
  return total;
}
