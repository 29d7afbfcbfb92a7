import { stringify } from 'yaml';
import { KINDS } from './kinds.ts';
import { customResourceDefinition } from './schema/kind.ts';

const HEADER = '# Generated from api/ by `npm run generate`.\n';

/** The files of charts/datamover/crds/ by name, in the order of KINDS. */
export function crdFiles(): ReadonlyMap<string, string> {
  return new Map(
    KINDS.map((kind) => [
      `${kind.group}_${kind.plural}.yaml`,
      // One line for each value: what changed in a schema is then one line of a diff.
      HEADER + stringify(customResourceDefinition(kind), { lineWidth: 0, aliasDuplicateObjects: false }),
    ]),
  );
}
