/**
 * Real OpenZFS for tests, in a virtual machine whose commands run as if they were here:
 *
 *     describePeer('openzfs', 'send', () => {
 *       let zfs: OpenZfs;
 *       beforeAll(async () => { zfs = await startOpenZfs(); }, 120_000);   // shared by all test files of a run
 *       afterAll(() => zfs.stop());
 *       it('...', async () => {
 *         await zfs.zfs('create', '-V', '64M', `${zfs.pool}/mytest/vol`);     // stdout; throws when it fails
 *         const device = await zfs.device(`${zfs.pool}/mytest/vol`);          // /dev/zvol/..., once it is there
 *         await zfs.run('sha256sum', device);                                 // any program of the machine (busybox, mke2fs)
 *         await run({ file: 'zfs', args: ['send', ...], env: zfs.environment }); // our own code: `env` puts proxies on the PATH
 *         await zfs.runHere(process.execPath, 'dist/...js', ...);             // this machine's program, in there: sees /dev/zvol
 *
 * Proxies: zfs, zpool, zdb, zstream, and `vm PROGRAM` for any other. They have stdin, stdout, stderr, exit status and signals
 * of the command; killing a proxy kills the command. A `zfs` takes 0.1 s, a stream 40 MiB/s, so keep volumes small. Test files
 * keep apart by datasets: make one per file below `pool` and destroy it at the end. What may end the machine (a known
 * assertion of OpenZFS), or fill its memory, wants a machine of its own: `startOpenZfs({ own: true })`.
 * Destroy, receive and rollback want nobody to have the zvol open.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run, type Output } from '../../datamover/process/spawn.ts';
import { startDaemon, type Daemon } from './daemon.ts';
import { requirePeer } from './peers.ts';
import { freePorts } from './ports.ts';
import { scratchDirectory } from './scratch.ts';
import { sharedServer } from './shared.ts';

/** A machine with ZFS. Plain values alone, so that it travels between processes. */
export interface OpenZfsEndpoint {
  /** For programs that call `zfs` and `zpool`: a PATH with the proxies, and where their machine is. */
  readonly environment: { readonly PATH: string; readonly OPENZFS_VM: string };
  /** A pool of some gigabytes, sparse in this machine's memory. */
  readonly pool: string;
  /** A pool that is soon full. */
  readonly smallPool: string;
}

export interface OpenZfs extends OpenZfsEndpoint {
  /** Runs `zfs`, giving its stdout. */
  zfs(...args: string[]): Promise<string>;
  /** Runs a program of the virtual machine. */
  run(file: string, ...args: string[]): Promise<Output>;
  /** Runs a program of this machine inside, on this machine's files, with the current directory and environment. */
  runHere(file: string, ...args: string[]): Promise<Output>;
  /** The path of a zvol's (or of its snapshot's) device inside, once it is there. */
  device(zvol: string): Promise<string>;
  /** Ends a machine of one's own; the shared one stays for the other test files. */
  stop(): Promise<void>;
}

export interface OpenZfsOptions {
  /** A machine of one's own, which the caller must stop; without it the one of this test run. */
  readonly own?: boolean;
  /** Of one's own machine, in MiB; 1024 without it. More is wanted where our programs run inside. */
  readonly memory?: number;
  /** Of its large pool, in MiB; 8192 without it. What is written to it is in this machine's memory. */
  readonly poolSize?: number;
}

/** MiB. */
const POOLS = { tank: 8192, small: 160 } as const;
const MEBIBYTE = 1024 * 1024;
const SECTOR = 512;
/** Of the one partition, in sectors. A whole disk as a pool's device would make libzfs wait for udev. */
const PARTITION_START = 2048;
/** A loaded machine without KVM takes a while. */
const BOOT_PATIENCE_MS = 180_000;
const DEVICE_PATIENCE_MS = 60_000;
/** How a process ended is known a second after it; virtiofsd's end does not follow from qemu's at once. */
const FOLLOW_MS = 2_000;
/** As they are started. */
const NAMES = ['virtiofsd', 'qemu'];

/** A machine with empty pools; throws when it was not built (see `describePeer`). */
export async function startOpenZfs(options: OpenZfsOptions = {}): Promise<OpenZfs> {
  const shared = options.own === true ? undefined : await sharedServer('openzfs', false);
  return withCommands(shared ?? (await bootOpenZfs(options)));
}

interface Machine extends OpenZfsEndpoint {
  stop(): Promise<void>;
  /** Whether commands can be given to it. */
  alive(): Promise<boolean>;
  /** Of one that has ended by itself: how its processes ended, and what its console says. */
  lastWords(): Promise<string>;
}

function withCommands(machine: Omit<Machine, 'alive' | 'lastWords'>): OpenZfs {
  const env = machine.environment;
  const inside = (file: string, ...args: string[]): Promise<Output> =>
    run({ file: 'vm', args: [file, ...args], env, subject: file });
  return {
    ...machine,
    zfs: async (...args) => (await run({ file: 'zfs', args, env })).stdout,
    run: inside,
    runHere: (file, ...args) => run({ file: 'vm', args: ['--host', file, ...args], env, subject: file }),
    device: async (zvol) => {
      const path = `/dev/zvol/${zvol}`;
      const deadline = Date.now() + DEVICE_PATIENCE_MS;
      const there = async (): Promise<boolean> =>
        (await run({ file: 'vm', args: ['test', '-b', path], env, accept: [0, 1] })).status === 0;
      while (!(await there())) {
        if (Date.now() > deadline) throw new Error(`${path} does not appear`);
        await delay(50);
      }
      return path;
    },
  };
}

/** For the keeper: the machine as plain values. A boot takes about 4 s of an idle machine. Everything of it is in memory: half a gibibyte, and what the pools hold. */
export async function bootOpenZfs({
  memory = 1024,
  poolSize = POOLS.tank,
}: Omit<OpenZfsOptions, 'own'> = {}): Promise<Machine> {
  const proxy = requirePeer('openzfs').file;
  const home = await scratchDirectory('openzfs');
  const port = await freePorts(1);
  const environment = {
    PATH: `${dirname(proxy)}:${process.env['PATH'] ?? ''}`,
    OPENZFS_VM: `127.0.0.1:${port}`,
  };
  const daemons: Daemon[] = [];
  const stop = async (): Promise<void> => {
    for (const daemon of daemons.toReversed()) await daemon.stop();
    await rm(home, { recursive: true, force: true });
  };
  const zpool = async (...args: string[]): Promise<void> => {
    await run({ file: 'zpool', args, env: environment, signal: AbortSignal.timeout(BOOT_PATIENCE_MS) });
  };
  try {
    await mkdir(join(home, 'disks'));
    for (const [name, size] of Object.entries({ ...POOLS, tank: poolSize }))
      await makeDisk(join(home, 'disks', name), size);
    const share = join(home, 'share');
    daemons.push(
      await startDaemon({
        file: '/usr/lib/qemu/virtiofsd',
        // What is written on one side is there on the other at once.
        args: [
          `--socket-path=${share}`,
          '-o',
          'source=/',
          '-o',
          'cache=auto,timeout=0',
          '-o',
          'sandbox=chroot',
        ],
        ready: async () => existsSync(share),
      }),
    );
    const console = join(home, 'console');
    daemons.push(
      await startDaemon({
        file: 'qemu-system-x86_64',
        args: emulation({ folder: dirname(dirname(proxy)), home, port, share, console, memory }),
        patience: BOOT_PATIENCE_MS,
        ready: async () => (await readFile(console, 'utf8')).includes('agent listens'),
      }),
    );
    for (const [index, name] of Object.keys(POOLS).entries()) {
      const device = `/dev/vd${'ab'.charAt(index)}1`;
      await zpool('create', '-O', `mountpoint=/${name}`, '-o', 'ashift=12', name, device);
    }
    const alive = async (): Promise<boolean> =>
      daemons.every(({ pid }) => existsSync(`/proc/${pid}`)) && (await accepts(port));
    const lastWords = async (): Promise<string> => {
      await delay(FOLLOW_MS);
      const ends = daemons.map((daemon, i) => `${NAMES[i] ?? ''} ${daemon.ended() ?? 'is there'}`);
      return `OpenZFS: ${ends.join(', ')}; ${await consoleOf(home)}`;
    };
    return { environment, pool: 'tank', smallPool: 'small', stop, alive, lastWords };
  } catch (error) {
    const said = await consoleOf(home);
    await stop();
    throw new Error(`start OpenZFS: ${said}`, { cause: error });
  }
}

async function consoleOf(home: string): Promise<string> {
  const said = await readFile(join(home, 'console'), 'utf8').catch(() => '');
  return `its console says: ${said.slice(-4000)}`;
}

/** The kernel refuses where nobody listens. */
async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A sparse disk with one partition. */
async function makeDisk(file: string, mebibytes: number): Promise<void> {
  const sectors = (mebibytes * MEBIBYTE) / SECTOR;
  const table = Buffer.alloc(SECTOR);
  // The first of four entries: not active, no cylinders, Linux, then where it begins and how long it is.
  table.set([0, 0, 2, 0, 0x83, 0xff, 0xff, 0xff], 446);
  table.writeUInt32LE(PARTITION_START, 454);
  table.writeUInt32LE(sectors - PARTITION_START, 458);
  table.set([0x55, 0xaa], 510);
  const disk = await open(file, 'w');
  await disk.write(table, 0, SECTOR, 0);
  await disk.truncate(mebibytes * MEBIBYTE);
  await disk.close();
}

interface Emulation {
  /** With the kernel and its first root. */
  readonly folder: string;
  readonly home: string;
  readonly port: number;
  readonly share: string;
  readonly console: string;
  readonly memory: number;
}

/**
 * Emulated (TCG), since test machines rarely allow KVM and stock kernels do not boot under each of its kinds. A command takes a third of
 * the time that it takes with two processors, which wait for each other, and with page tables of five levels. On a
 * loaded machine the kernel's tests of its timers fail: they are left out. Its network
 * reaches nothing, and one loopback port of this machine leads to its agent. It ends rather than reboots.
 */
function emulation({ folder, home, port, share, console, memory }: Emulation): string[] {
  const disks = Object.keys(POOLS).flatMap((name) => [
    '-drive',
    `if=none,id=${name},file=${join(home, 'disks', name)},format=raw,cache=unsafe,aio=threads,discard=unmap`,
    ...['-device', `virtio-blk-pci,drive=${name}`],
  ]);
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot'],
    ...['-accel', 'tcg', '-cpu', 'max,la57=off', '-smp', '1', '-m', String(memory)],
    ...['-object', `memory-backend-memfd,id=memory,size=${memory}M,share=on`, '-numa', 'node,memdev=memory'],
    ...['-kernel', join(folder, 'vmlinuz'), '-initrd', join(folder, 'initramfs')],
    '-append',
    'console=ttyS0 panic=-1 edd=off quiet no_timer_check tsc=reliable mitigations=off nokaslr random.trust_cpu=on vm.share',
    ...disks,
    ...['-netdev', `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:7000`],
    ...['-device', 'virtio-net-pci,netdev=net,romfile='],
    ...['-chardev', `socket,id=share,path=${share}`, '-device', 'vhost-user-fs-pci,chardev=share,tag=host'],
    ...['-serial', `file:${console}`],
  ];
}
