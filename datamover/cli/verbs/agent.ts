import { AGENT_FIELD_MANAGER, runAgent } from '../../agent/agent.ts';
import { LEASE_SECONDS } from '../../agent/options.ts';
import { makeClient } from '../../kubernetes/client.ts';
import { loadConfiguration } from '../../kubernetes/configuration.ts';
import type { DriverName } from '../../volumes/driver.ts';
import {
  addFlags,
  COMMON_FLAGS,
  parseAddress,
  parseDuration,
  parseMemory,
  parseName,
  parseNumber,
  readFlags,
} from '../component-flags.ts';
import { componentLog } from '../component-log.ts';
import type { Verb } from '../verb.ts';

const path = (text: string): string => text;

const FLAGS = {
  ...COMMON_FLAGS,
  node: {
    ...{ name: 'node', value: 'name', description: 'the node that it serves', env: ['NODE_NAME'] },
    parse: parseName,
  },
  pod: {
    ...{ name: 'pod', value: 'name', description: "the pod's name: what it claims as", env: ['POD_NAME'] },
    parse: parseName,
  },
  drivers: {
    ...{ name: 'drivers', value: 'list', description: 'what this node can reach', fallback: 'zfs,rbd' },
    parse: parseDrivers,
  },
  maxTransfers: {
    ...{ name: 'max-transfers', value: 'number', description: 'children at once', fallback: '2' },
    parse: parseNumber,
  },
  childMemory: {
    ...{ name: 'child-memory', value: 'size', description: 'cap of each child', fallback: '512Mi' },
    parse: parseMemory,
  },
  progressInterval: {
    ...{ name: 'progress-interval', value: 'span', description: 'between two writes of progress' },
    ...{ fallback: '5s', parse: parseDuration },
  },
  scratch: {
    ...{ name: 'scratch', value: 'folder', description: 'for files of a transfer' },
    ...{ fallback: '/var/lib/datamover', parse: path },
  },
  cephConf: {
    ...{ name: 'ceph-conf', value: 'file', description: "where a transfer's secret has no ceph.conf" },
    ...{ optional: true as const, parse: path },
  },
  gracePeriod: {
    ...{ name: 'grace-period', value: 'span', description: 'for children after SIGTERM' },
    ...{ fallback: '25s', parse: parseDuration },
  },
  httpAddress: {
    ...{ name: 'http-address', value: 'address', description: 'health, readiness, metrics' },
    ...{ fallback: ':8081', parse: parseAddress },
  },
} as const;

const EXAMPLES = `
Runs on every node that reaches a storage, as part of the chart (docs/kubernetes.md). Each flag may be in the environment;
the flag goes first. SIGTERM lets the transfers that run end within --grace-period; the next agent begins the others again.`;

export const verb: Verb = {
  configure(command, run) {
    addFlags(
      command.description('Carries the transfers that the controller gives to this node.'),
      Object.values(FLAGS),
    );
    command.addHelpText('after', EXAMPLES).action((given: Record<string, unknown>) =>
      run(async ({ env, interrupt }) => {
        const { kubeconfig, logLevel, childMemory, progressInterval, gracePeriod, cephConf, ...flags } =
          readFlags(FLAGS, given, env);
        const client = makeClient(loadConfiguration(kubeconfig === undefined ? {} : { kubeconfig }), {
          fieldManager: AGENT_FIELD_MANAGER,
        });
        try {
          const options = {
            ...{ ...flags, childMemoryBytes: childMemory, progressIntervalMs: progressInterval },
            ...{ gracePeriodMs: gracePeriod, leaseSeconds: LEASE_SECONDS },
            ...(cephConf !== undefined && { cephConf }),
          };
          const log = componentLog('agent', logLevel, { node: flags.node, pod: flags.pod });
          await runAgent(client, options, log, interrupt.signal);
        } finally {
          client.close();
        }
      }),
    );
  },
};

function parseDrivers(text: string): DriverName[] {
  const known: readonly DriverName[] = ['file', 'zfs', 'rbd'];
  return text.split(',').map((name) => {
    const driver = known.find((candidate) => candidate === name.trim());
    if (driver === undefined) throw new Error(`write some of ${known.join(', ')}, separated by commas`);
    return driver;
  });
}
