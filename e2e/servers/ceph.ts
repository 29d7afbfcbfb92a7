import { randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { startDaemon, type Daemon } from './daemon.ts';
import { requirePeer } from './peers.ts';
import { freePorts } from './ports.ts';
import { scratchDirectory } from './scratch.ts';
import { sharedServer } from './shared.ts';

/** A real cluster on this machine's loopback. Plain values alone, so that it travels between processes. */
export interface CephEndpoint {
  /** What every Ceph client needs in its environment: the path of a ceph.conf that names everything else. */
  readonly environment: { readonly CEPH_CONF: string };
  /** For servers on top, such as the RADOS Gateway. */
  readonly home: string;
  readonly freePort: number;
  /** A pool for images, ready for `rbd create`. */
  readonly pool: string;
  /** `127.0.0.1:PORT` of the monitor, as configurations of ceph-csi name it. */
  readonly monitor: string;
}

export interface CephCluster extends CephEndpoint {
  /** Ends a cluster of one's own and removes its data; the shared one (see shared.ts) stays for the other test files. */
  stop(): Promise<void>;
}

export interface CephOptions {
  /** A cluster of one's own, which the caller must stop; without it the one of this test run. */
  readonly own?: boolean;
}

/** From the base port: monitor v2, v1, the OSD's range, and one for a gateway. */
const PORTS = 14;
const POOL = 'rbd';

/** A cluster with a pool for images; throws when Ceph is not there (see `describePeer`). Test files keep apart by images. */
export async function startCeph(options: CephOptions = {}): Promise<CephCluster> {
  const shared = options.own === true ? undefined : await sharedServer('ceph', false);
  return shared ?? startOwnCeph();
}

/**
 * One monitor and one OSD that keeps everything in memory, in a private directory. A start takes 1-3 s. There is no manager:
 * pools, RBD and the gateway work without it, `ceph df` and `rbd task` do not.
 */
async function startOwnCeph(): Promise<CephCluster> {
  requirePeer('ceph');
  const home = await scratchDirectory('ceph');
  const port = await freePorts(PORTS);
  const environment = { CEPH_CONF: join(home, 'ceph.conf') };
  const daemons: Daemon[] = [];
  const stop = async (): Promise<void> => {
    // In the reverse order, or the OSD waits for its monitor to say farewell.
    for (const daemon of daemons.toReversed()) await daemon.stop();
    await rm(home, { recursive: true, force: true });
  };
  const exec = async (file: string, ...args: string[]): Promise<void> => {
    await run({ file, args, env: environment, signal: AbortSignal.timeout(60_000) });
  };
  try {
    for (const folder of ['mon.a', 'osd.0', 'rgw', 'asok', 'crash']) await mkdir(join(home, folder));
    const cluster = { home, port, fsid: randomUUID(), osd: randomUUID() };
    await writeFile(environment.CEPH_CONF, configuration(cluster));
    const keyring = join(home, 'keyring');
    await makeKeyring(keyring, exec);
    const monitors = `[v2:127.0.0.1:${port},v1:127.0.0.1:${port + 1}]`;
    const monmap = join(home, 'monmap');
    await exec(
      'monmaptool',
      ...['--create', '--fsid', cluster.fsid, '--addv', 'a', monitors],
      ...['--enable-all-features', '--set-min-mon-release', 'pacific', monmap],
    );
    await exec(
      ...(['ceph-mon', '--mkfs', '-i', 'a', '--fsid', cluster.fsid, '--monmap', monmap] as const),
      ...['--keyring', keyring],
    );
    // The OSD's id and uuid are our choice, so its mkfs needs nothing of the monitor.
    const formatted = exec('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', cluster.osd);
    formatted.catch(() => undefined);
    const quick = { env: environment, patience: 60_000 };
    daemons.push(
      await startDaemon({
        ...quick,
        ...{ file: 'ceph-mon', args: ['-f', '-i', 'a'] },
        // One process of the (Python) client for all commands: each start of it costs 0.3 s.
        ready: () =>
          run({
            file: 'ceph',
            args: ['--connect-timeout', '20'],
            env: environment,
            input: monitorCommands(cluster.osd),
          }).then(() => true),
      }),
    );
    await formatted;
    daemons.push(
      await startDaemon({
        ...quick,
        ...{ file: 'ceph-osd', args: ['-f', '-i', '0'] },
        ready: async () => {
          const { stdout } = await run({ file: 'ceph', args: ['osd', 'stat'], env: environment });
          return stdout.includes('1 up');
        },
      }),
    );
    await exec('rbd', 'pool', 'init', POOL);
    const monitor = `127.0.0.1:${port + 1}`;
    return { environment, home, freePort: port + PORTS - 1, pool: POOL, monitor, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeKeyring(
  file: string,
  exec: (file: string, ...args: string[]) => Promise<void>,
): Promise<void> {
  const rights: Record<string, Record<string, string>> = {
    'mon.': { mon: 'allow *' },
    'client.admin': { mon: 'allow *', osd: 'allow *', mgr: 'allow *' },
    'osd.0': { mon: 'allow profile osd', osd: 'allow *', mgr: 'allow profile osd' },
    'client.rgw': { mon: 'allow rw', osd: 'allow rwx', mgr: 'allow rw' },
  };
  let create = ['--create-keyring'];
  for (const [name, caps] of Object.entries(rights)) {
    const grants = Object.entries(caps).flatMap(([daemon, right]) => ['--cap', daemon, right]);
    await exec('ceph-authtool', ...create, file, '--gen-key', '-n', name, ...grants);
    create = [];
  }
}

function monitorCommands(osd: string): string {
  return [
    `osd new ${osd} 0`,
    'osd crush add-bucket localhost host',
    'osd crush move localhost root=default',
    `osd pool create ${POOL} 8 8`,
    `osd pool application enable ${POOL} rbd`,
    'osd crush add osd.0 1.0 host=localhost',
    '',
  ].join('\n');
}

/** The gateway's sockets need cephx; the small numbers keep a cluster under 150 MiB. */
function configuration({ home, port, fsid }: { home: string; port: number; fsid: string }): string {
  return `[global]
fsid = ${fsid}
mon host = [v2:127.0.0.1:${port},v1:127.0.0.1:${port + 1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = ${port + 2}
ms bind port max = ${port + PORTS - 2}
auth allow insecure global id reclaim = false
keyring = ${home}/keyring
run dir = ${home}
admin socket = ${home}/asok/$name.asok
pid file =
log file = ${home}/$name.log
crash dir = ${home}/crash
log to stderr = false
err to stderr = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
mon warn on insecure global id reclaim allowed = false
mon max pg per osd = 1000
rbd default features = 61
[client]
admin socket =
log file = /dev/null
[mon.a]
mon data = ${home}/mon.a
mon cluster log file = ${home}/cluster.log
mon data avail warn = 1
mon data avail crit = 0
mon memory target = 268435456
rocksdb cache size = 16777216
paxos propose interval = 0.05
paxos min wait = 0.01
mon tick interval = 1
[osd.0]
osd data = ${home}/osd.0
osd objectstore = memstore
osd class update on start = false
osd journal size = 0
memstore device bytes = 17179869184
osd op num shards = 2
osd op num threads per shard = 1
osd scrub begin hour = 0
osd scrub end hour = 0
osd snap trim sleep = 0
osd delete sleep = 0
ms async op threads = 2
[client.rgw]
rgw data = ${home}/rgw
rgw frontends = beast endpoint=127.0.0.1:${port + PORTS - 1}
log file = ${home}/rgw.log
rgw thread pool size = 32
rgw enable usage log = false
rgw enable ops log = false
rgw dns name = localhost
`;
}
