/** An agent with shorter leases than `datamover agent` has, so that tests need not wait half a minute: `agent-process.js OPTIONS` (JSON). */
import { componentLog } from '../../cli/component-log.ts';
import { makeClient } from '../../kubernetes/client.ts';
import { loadConfiguration } from '../../kubernetes/configuration.ts';
import { exit } from '../../process/exit.ts';
import { AGENT_FIELD_MANAGER, runAgent } from '../agent.ts';
import type { AgentOptions } from '../options.ts';

const { serviceAccountFolder, ...options } = JSON.parse(process.argv[2] ?? '') as AgentOptions & {
  serviceAccountFolder: string;
};
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const client = makeClient(loadConfiguration({ serviceAccountFolder }), { fieldManager: AGENT_FIELD_MANAGER });
await runAgent(client, options, componentLog('agent', 'debug', { pod: options.pod }), stop.signal);
client.close();
exit(0);
