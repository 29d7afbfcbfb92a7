import { isLogLevel, type LogLevel } from './log.ts';

/**
 * What a plugin hears on its command line: Velero passes on everything that stands after `velero server`, and any flag may be
 * among it. Flags without a meaning here are passed over.
 */
export interface HostArguments {
  /** `--log-level`: what is logged; `info` without it. */
  readonly logLevel: LogLevel;
  /** `--features`: Velero's feature flags, such as `EnableCSI`. */
  readonly features: ReadonlySet<string>;
  /** `--kubeconfig`: the cluster, when Velero was told by flag. */
  readonly kubeconfig: string | undefined;
  /** `--namespace` or `-n`: Velero's own namespace, when it was told by flag. */
  readonly namespace: string | undefined;
  /** `--install DIR`: copy this executable there instead of serving. */
  readonly install: string | undefined;
  /** `--version`: print the version instead of serving. */
  readonly version: boolean;
}

export function readArguments(args: readonly string[]): HostArguments {
  const flags = new Map<string, string>();
  args.forEach((argument, at) => {
    const [, name, inline] = /^--?([a-zA-Z][\w-]*)(?:=(.*))?$/s.exec(argument) ?? [];
    const next = args[at + 1];
    if (name !== undefined)
      flags.set(name, inline ?? (next === undefined || next.startsWith('-') ? '' : next));
  });
  const given = (name: string): string | undefined => (flags.get(name) === '' ? undefined : flags.get(name));
  const level = given('log-level')?.toLowerCase() ?? '';
  return {
    // logrus, in which Velero counts, says `warning` too.
    logLevel: level === 'warning' ? 'warn' : isLogLevel(level) ? level : 'info',
    features: new Set(
      given('features')
        ?.split(',')
        .filter((feature) => feature !== ''),
    ),
    kubeconfig: given('kubeconfig'),
    namespace: given('namespace') ?? given('n'),
    install: flags.get('install'),
    version: flags.has('version'),
  };
}
