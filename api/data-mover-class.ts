import { labelSelector, NAME } from './references.ts';
import { AGE, column, kind, type ObjectOfKind } from './schema/kind.ts';
import {
  boolean,
  enumOf,
  immutable,
  object,
  optional,
  string,
  withDefault,
  type TypeOf,
} from './schema/schema.ts';

export const KEEP_SNAPSHOT = ['Last', 'None'] as const;
export type KeepSnapshot = (typeof KEEP_SNAPSHOT)[number];

const spec = object('Which claims this mover moves.', {
  mover: immutable(
    string('Who moves them: `datamover.io` is this software; the volumes of any other are left alone.', {
      pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$',
      maxLength: 253,
    }),
  ),
  default: withDefault(boolean('Whether it moves the claims that no other class asks for.'), false),
  selector: optional(labelSelector),
  backupTarget: optional(
    string(
      'Where to, if whoever makes the backup does not say: a BackupTarget of the protected namespace.',
      NAME,
    ),
  ),
  keepSnapshot: withDefault(
    enumOf(
      'Which snapshots stay on the storage after Velero left them to the mover (a DataUpload): the last one of each claim on Ceph RBD, so that the next backup reads what changed since, or none.',
      KEEP_SNAPSHOT,
    ),
    'Last',
  ),
});

/**
 * Who moves what. A claim belongs to the class that its annotation `datamover.io/class` names, else to the first by name whose
 * selector matches its labels, else to the default; without any class all claims belong to this software.
 */
export const dataMoverClass = kind({
  group: 'datamover.io',
  version: 'v1alpha1',
  kind: 'DataMoverClass',
  plural: 'datamoverclasses',
  shortNames: ['dmc'],
  scope: 'Cluster',
  description: 'Says which data mover moves which claims.',
  spec,
  columns: [
    column('Mover', '.spec.mover'),
    column('Default', '.spec.default', { type: 'boolean' }),
    column('Target', '.spec.backupTarget'),
    AGE,
  ],
});

export type DataMoverClass = ObjectOfKind<typeof dataMoverClass>;
export type DataMoverClassSpec = TypeOf<typeof spec>;
