import { conditions, labelSelector, NAME } from './references.ts';
import { AGE, column, kind, wide, type ObjectOfKind } from './schema/kind.ts';
import {
  boolean,
  count,
  object,
  optional,
  string,
  timestamp,
  withDefault,
  type TypeOf,
} from './schema/schema.ts';

const keep = (description: string) => optional(count(description, { maximum: 100_000 }));

/** As `datamover forget` has it: the rules are ORed. */
const retention = object(
  'Which backups stay; one that any rule keeps is kept.',
  {
    last: keep('The newest so many.'),
    hourly: keep('The last of each of so many hours that have one.'),
    daily: keep('The last of each of so many days that have one.'),
    weekly: keep('The last of each of so many weeks that have one.'),
    monthly: keep('The last of each of so many months that have one.'),
    yearly: keep('The last of each of so many years that have one.'),
    within: optional(
      string('All that are not older than this, counted from the newest: `1y5m7d2h`.', {
        pattern: '^([0-9]+[hdmy])+$',
        maxLength: 40,
      }),
    ),
  },
  [
    {
      rule:
        ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly']
          .map((rule) => `(has(self.${rule}) && self.${rule} > 0)`)
          .join(' || ') + ' || has(self.within)',
      message: 'retention has to keep something: give at least one rule above 0',
    },
  ],
);

const spec = object('What is backed up when, and how long it is kept.', {
  schedule: string('When: minute, hour, day of month, month, day of week, or `@daily` and the like.', {
    pattern: '^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|\\S+( +\\S+){4})$',
    maxLength: 120,
  }),
  timeZone: withDefault(
    string('The time zone of schedule and retention: a name of the IANA database.', {
      pattern: '^[A-Za-z0-9_+/-]+$',
      maxLength: 64,
    }),
    'UTC',
  ),
  selector: optional(labelSelector),
  backupTarget: string('The BackupTarget to back up to.', NAME),
  volumeSnapshotClassName: optional(
    string("The class of the snapshots; without it the driver's default.", NAME),
  ),
  retention: optional(retention),
  paused: withDefault(boolean('Whether nothing is begun and nothing removed for now.'), false),
  requestedAt: optional(timestamp('Runs at once, when this is later than status.lastRunAt.')),
});

const status = object('What it did.', {
  conditions,
  message: optional(string('What is wrong, in one sentence.', { maxLength: 4096 })),
  nextRunAt: optional(timestamp('When it runs next.')),
  lastRunAt: optional(timestamp('When it last began.')),
  lastSuccessAt: optional(timestamp('When it last ended with a backup of each claim.')),
  claims: optional(count('Claims that it found when it last ran.')),
  active: optional(count('Transfers that it began and that have not ended.')),
});

/** Backups of the claims of one namespace by the clock, without Velero. */
export const backupSchedule = kind({
  group: 'datamover.io',
  version: 'v1alpha1',
  kind: 'BackupSchedule',
  plural: 'backupschedules',
  shortNames: ['dms'],
  scope: 'Namespaced',
  description: 'Backs up the claims of its namespace by the clock.',
  spec,
  status,
  columns: [
    column('Schedule', '.spec.schedule'),
    column('Target', '.spec.backupTarget'),
    column('Paused', '.spec.paused', { type: 'boolean' }),
    column('Claims', '.status.claims', { type: 'integer' }),
    column('Active', '.status.active', { type: 'integer' }),
    column('Last success', '.status.lastSuccessAt', { type: 'date' }),
    column('Next', '.status.nextRunAt', { type: 'date' }),
    AGE,
    wide('Message', '.status.message'),
  ],
});

export type BackupSchedule = ObjectOfKind<typeof backupSchedule>;
export type BackupScheduleSpec = TypeOf<typeof spec>;
export type BackupScheduleStatus = TypeOf<typeof status>;
