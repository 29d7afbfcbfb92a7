import { InvalidArgumentError, type Command } from 'commander';
import type { TargetWishes } from '../volumes/driver.ts';
import { parseSize } from './arguments.ts';
import { usage } from './settings.ts';

/** How a new volume is to be made, as commander parses it. */
export interface TargetFlags {
  readonly thick?: boolean;
  readonly thin?: boolean;
  readonly volblocksize?: number;
  readonly property?: Readonly<Record<string, string>>;
  readonly objectSize?: number;
  readonly dataPool?: string;
  readonly features?: readonly string[];
}

export function addTargetOptions(command: Command): Command {
  return command
    .option('--thick', 'of a new zvol: reserve space for all of it')
    .option('--thin', 'of a new zvol: reserve none')
    .option('--volblocksize <size>', 'of a new zvol', parseSize)
    .option('--property <name=value>', 'of a new ZFS volume or dataset (may be repeated)', collectProperty)
    .option('--object-size <size>', 'of a new RBD image', parseSize)
    .option('--data-pool <pool>', 'of a new RBD image: where its data lies')
    .option('--features <name[,name...]>', 'of a new RBD image: these and no others', parseFeatures);
}

/** Undefined where nothing is wished: then the volume is made as it was. */
export function readWishes(flags: TargetFlags): TargetWishes | undefined {
  const { thick, thin, volblocksize, property, objectSize, dataPool, features } = flags;
  if (thick === true && thin === true) throw usage('restore', '--thick and --thin exclude each other');
  const wishes: TargetWishes = {
    ...(thick === true && { thick: true }),
    ...(thin === true && { thick: false }),
    ...(volblocksize !== undefined && { volblocksize }),
    ...(property !== undefined && { properties: property }),
    ...(objectSize !== undefined && { objectBytes: objectSize }),
    ...(dataPool !== undefined && { dataPool }),
    ...(features !== undefined && { features }),
  };
  return Object.keys(wishes).length === 0 ? undefined : wishes;
}

/** `compression=zstd`; a user's own property has a colon in its name. */
export function collectProperty(
  text: string,
  earlier: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const [, name, value] = /^([a-z0-9][a-z0-9:._-]*)=(.+)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new InvalidArgumentError('Write NAME=VALUE such as compression=zstd.');
  return { ...earlier, [name]: value };
}

export function parseFeatures(text: string): string[] {
  const features = text.split(',').map((feature) => feature.trim());
  if (features.includes(''))
    throw new InvalidArgumentError('Write features of RBD such as layering,exclusive-lock.');
  return features;
}
