import { Option, type Command } from 'commander';
import { parseListenAddress, type ListenAddress } from '../http/address.ts';
import { parseCount, parseSpan } from './arguments.ts';
import { usage } from './settings.ts';

/** A flag of `datamover controller` or `datamover agent`; docs/kubernetes.md has them all. */
export interface Flag<T> {
  /** As on the command line, without the dashes. */
  readonly name: string;
  readonly value: string;
  readonly description: string;
  /** In the spelling of the flag; a flag without one must be given, or may be missing where `optional`. */
  readonly fallback?: string;
  readonly optional?: true;
  /** Further environment variables, after the flag's own: what a pod's downward API usually sets. */
  readonly env?: readonly string[];
  readonly parse: (text: string) => T;
}

/** `--max-transfers` is `DATAMOVER_MAX_TRANSFERS`. */
export function environmentName(flag: string): string {
  return `DATAMOVER_${flag.replaceAll('-', '_').toUpperCase()}`;
}

export function addFlags(command: Command, flags: readonly Flag<unknown>[]): void {
  for (const { name, value, description, fallback, env = [] } of flags) {
    const variables = [environmentName(name), ...env].join(', ');
    const standard = fallback === undefined ? '' : ` (default: ${fallback})`;
    command.addOption(new Option(`--${name} <${value}>`, `${description}${standard} [${variables}]`));
  }
}

type Values<Flags extends Readonly<Record<string, Flag<unknown>>>> = {
  readonly [K in keyof Flags]: Flags[K] extends { readonly optional: true }
    ? ReturnType<Flags[K]['parse']> | undefined
    : ReturnType<Flags[K]['parse']>;
};

/** The flags' values: the command line goes before the environment, which goes before the default. Throws a usage error. */
export function readFlags<Flags extends Readonly<Record<string, Flag<unknown>>>>(
  flags: Flags,
  given: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
): Values<Flags> {
  const entries = Object.entries(flags).map(([key, flag]) => [key, valueOf(flag, given, env)]);
  return Object.fromEntries(entries) as Values<Flags>;
}

function valueOf(
  flag: Flag<unknown>,
  given: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
): unknown {
  const variables = [environmentName(flag.name), ...(flag.env ?? [])];
  const variable = variables.find((name) => env[name] !== undefined && env[name] !== '');
  const spelled = given[camelCase(flag.name)];
  const text = typeof spelled === 'string' ? spelled : variable === undefined ? flag.fallback : env[variable];
  if (text === undefined) {
    if (flag.optional === true) return undefined;
    throw usage(
      'start',
      `--${flag.name} is not given`,
      undefined,
      `it may also be in ${variables.join(' or ')}`,
    );
  }
  try {
    return flag.parse(text);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw usage('start', cause.replace(/\.$/, ''), `--${flag.name} ${JSON.stringify(text)}`);
  }
}

function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Names of nodes, pods and namespaces: they become labels, paths and names of leases. */
export function parseName(text: string): string {
  if (text.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text)) return text;
  throw new Error('write a Kubernetes name: small letters, digits, dashes and dots');
}

/** At least one. */
export function parseNumber(text: string): number {
  const number = parseCount(text);
  if (number < 1) throw new Error('write a whole number, 1 or more');
  return number;
}

export function parseDuration(text: string): number {
  return parseSpan(text);
}

/** `512Mi`, `1Gi`: a quantity of memory as in a pod's limits, in bytes. */
export function parseMemory(text: string): number {
  const [, digits, unit] = /^(\d+)(Ki|Mi|Gi)?$/.exec(text) ?? [];
  const factor = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 }[unit ?? ''] ?? 1;
  if (digits === undefined || Number(digits) === 0)
    throw new Error('write a quantity of memory such as 512Mi');
  return Number(digits) * factor;
}

export function parseAddress(text: string): ListenAddress {
  return parseListenAddress(text);
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof LEVELS)[number];

export function parseLevel(text: string): LogLevel {
  const level = LEVELS.find((known) => known === text);
  if (level === undefined) throw new Error(`write ${LEVELS.join(', ')}`);
  return level;
}

/** What controller and agent share. */
export const COMMON_FLAGS = {
  namespace: {
    ...{ name: 'namespace', value: 'name', description: "the mover's own namespace", env: ['POD_NAMESPACE'] },
    parse: parseName,
  },
  kubeconfig: {
    ...{ name: 'kubeconfig', value: 'file', description: 'instead of KUBECONFIG and the ServiceAccount' },
    ...{ optional: true as const, parse: (text: string) => text },
  },
  logLevel: {
    ...{
      name: 'log-level',
      value: 'level',
      description: 'trace to fatal',
      fallback: 'info',
      parse: parseLevel,
    },
  },
} as const;
