/** How a plugin and its host find each other: hashicorp/go-plugin v1.7, docs/internals.md, and Velero's pkg/plugin/framework. */

/** Velero's magic cookie: without it a person, not a host, has started the executable. */
const COOKIE = { name: 'VELERO_PLUGIN', value: 'hello' };
/** go-plugin's own protocol. */
const CORE_PROTOCOL = 1;
/** The plugin protocols of Velero that are spoken here; hosts offer theirs in PLUGIN_PROTOCOL_VERSIONS. */
const APP_PROTOCOLS = [2] as const;

export const BY_HAND =
  'This is a Velero plugin: the Velero server starts it, and it does nothing by hand. Put the executable into the server’s plugin ' +
  'directory (--plugin-dir, /plugins by default), or add its image with `velero plugin add IMAGE`.\n';

/** What the host asks for in the environment. */
export interface HostRequest {
  /** A protocol that both speak, or else the newest of ours, with which the host can name both in its refusal. */
  readonly appProtocol: number;
  /** PEM of the certificate that the host will show (AutoMTLS); Velero does not ask for it. */
  readonly clientCertificate: string | undefined;
  /** Directory and group for the socket, when the host chooses them. */
  readonly socketDirectory: string | undefined;
  readonly socketGroup: string | undefined;
  /** The host would like several streams on one connection, which is answered with no. */
  readonly wantsMultiplexing: boolean;
}

/** Reads what a host asks for; undefined when no host of Velero plugins has started this process. */
export function readHost(env: Readonly<NodeJS.ProcessEnv>): HostRequest | undefined {
  if (env[COOKIE.name] !== COOKIE.value) return undefined;
  const given = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const offered = (env['PLUGIN_PROTOCOL_VERSIONS'] ?? '').split(',').map(Number);
  const common = APP_PROTOCOLS.filter((version) => offered.includes(version));
  return {
    appProtocol: Math.max(...(common.length > 0 ? common : APP_PROTOCOLS)),
    clientCertificate: given('PLUGIN_CLIENT_CERT'),
    socketDirectory: given('PLUGIN_UNIX_SOCKET_DIR'),
    socketGroup: given('PLUGIN_UNIX_SOCKET_GROUP'),
    wantsMultiplexing: /^(1|t|true)$/i.test(env['PLUGIN_MULTIPLEX_GRPC'] ?? ''),
  };
}

/** The one line on stdout: `CORE|APP|NETWORK|ADDRESS|PROTOCOL|CERTIFICATE[|MULTIPLEX]`. */
export function handshakeLine(host: HostRequest, socketPath: string, serverCertificate = ''): string {
  const fields = [CORE_PROTOCOL, host.appProtocol, 'unix', socketPath, 'grpc', serverCertificate];
  // The seventh field is for hosts that asked: older ones refuse a line that has it.
  return `${[...fields, ...(host.wantsMultiplexing ? ['false'] : [])].join('|')}\n`;
}
