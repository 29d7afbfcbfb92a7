import type { Zone } from '../moment.ts';

const parts = new Intl.DateTimeFormat('en-US', {
  timeZone: 'Europe/Berlin',
  timeZoneName: 'longOffset',
});

/** The offset of Berlin, by the zone tables that Node brings along. */
export const berlin: Zone = (seconds) => {
  const name =
    parts.formatToParts(new Date(seconds * 1000)).find((part) => part.type === 'timeZoneName')?.value ?? '';
  const match = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(name);
  if (match === null) throw new Error(`an offset like no other: ${name}`);
  const [, sign, hours = '0', minutes = '0', rest = '0'] = match;
  return (sign === '-' ? -1 : 1) * (Number(hours) * 3600 + Number(minutes) * 60 + Number(rest));
};
