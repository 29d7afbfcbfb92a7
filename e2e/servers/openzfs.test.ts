import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describeCause } from '../../datamover/errors.ts';
import { commandFailure, run, start } from '../../datamover/process/spawn.ts';
import { describePeer } from './describe-peers.ts';
import { startKeeper } from './keeper.ts';
import { startOpenZfs, type OpenZfs } from './openzfs.ts';
import { scratchDirectory } from './scratch.ts';
import { KEEPER_VARIABLE } from './shared.ts';

describePeer('openzfs', 'OpenZFS', () => {
  let zfs: OpenZfs;
  let home: string;

  beforeAll(async () => {
    zfs = await startOpenZfs();
    home = `${zfs.pool}/servers-test`;
    await zfs.zfs('create', home);
  }, 240_000);

  afterAll(async () => {
    await zfs.zfs('destroy', '-r', home);
    await zfs.stop();
  }, 120_000);

  const env = () => zfs.environment;
  const sha256 = async (device: string) => (await zfs.run('sha256sum', device)).stdout.slice(0, 64);
  const processes = async () => (await zfs.run('ps', '-o', 'args')).stdout;

  test('sends a zvol and receives it elsewhere', async () => {
    const [from, to] = [`${home}/from`, `${home}/to`];
    await zfs.zfs('create', '-V', '16M', from);
    const device = await zfs.device(from);
    await zfs.run('dd', 'if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=5', 'seek=3', 'conv=fsync');
    await zfs.zfs('snapshot', `${from}@a`);
    const send = await start({ file: 'zfs', args: ['send', `${from}@a`], env: env() });
    await run({ file: 'zfs', args: ['receive', to], env: env(), input: send.stdout });
    await send.finished;
    expect(await sha256(await zfs.device(to))).toBe(await sha256(device));
  }, 120_000);

  test('gives a command its exit status, stderr and every byte', async () => {
    const input = Buffer.alloc(3_000_000, 'abcdefg');
    const { stdout } = await run({ file: 'vm', args: ['cat'], env: env(), input });
    expect(stdout).toBe(input.toString());
    const failure = await run({ file: 'zfs', args: ['list', `${home}/nothing`], env: env() }).catch(
      (error: unknown) => commandFailure(error),
    );
    expect(failure).toMatchObject({ status: 1 });
    expect(failure).toHaveProperty('stderr', expect.stringContaining('dataset does not exist'));
    // A command that reads none of a long stdin, and says more than a pipe holds.
    const long = await run({ file: 'vm', args: ['seq', '200000'], env: env(), input });
    expect(long.stdout.length).toBe(1_288_895);
  }, 120_000);

  test('a killed proxy takes its command along', async () => {
    const sleeping = await start({ file: 'vm', args: ['sleep', '98765'], env: env() });
    while (!(await processes()).includes('98765')) await delay(50);
    process.kill(sleeping.pid, 'SIGKILL');
    await expect(sleeping.finished).rejects.toThrow(/SIGKILL/);
    while ((await processes()).includes('98765')) await delay(50);
  }, 120_000);

  test('a signal to the proxy is one to its command, and its death the proxy’s', async () => {
    const asked = await start({
      file: 'vm',
      args: ['sh', '-c', 'trap "echo caught; exit 7" TERM; echo ready; while :; do sleep 0.1; done'],
      env: env(),
    });
    let said = '';
    for await (const chunk of asked.stdout as AsyncIterable<Buffer>) {
      said += chunk.toString();
      if (said === 'ready\n') process.kill(asked.pid, 'SIGTERM');
    }
    expect(said).toBe('ready\ncaught\n');
    await expect(asked.finished).rejects.toThrow(/exit status 7/);
    await expect(run({ file: 'vm', args: ['sh', '-c', 'kill -9 $$'], env: env() })).rejects.toThrow(
      /SIGKILL/,
    );
  }, 120_000);

  test('runs this machine’s programs on its files, with zvols and ZFS’ commands', async () => {
    const folder = await scratchDirectory('openzfs-here');
    const zvol = `${home}/inside`;
    await zfs.zfs('create', '-V', '8M', zvol);
    const device = await zfs.device(zvol);
    const program = `
      const { execFileSync } = require('node:child_process');
      const { openSync, writeSync, fsyncSync, writeFileSync } = require('node:fs');
      const device = openSync('${device}', 'r+');
      writeSync(device, Buffer.from('written inside'), 0, 14, 4096);
      fsyncSync(device);
      writeFileSync('${join(folder, 'size')}', execFileSync('zfs', ['get', '-Hpo', 'value', 'volsize', '${zvol}']));`;
    await zfs.runHere(process.execPath, '-e', program);
    expect(await readFile(join(folder, 'size'), 'utf8')).toBe('8388608\n');
    expect((await zfs.run('dd', `if=${device}`, 'bs=1', 'skip=4096', 'count=14')).stdout).toBe(
      'written inside',
    );
    await rm(folder, { recursive: true });
  }, 120_000);

  test('a shared machine whose kernel panics is told of with its last words, and who asks then gets another', async () => {
    const keeper = await startKeeper();
    const ofRun = process.env[KEEPER_VARIABLE];
    // The kernel takes connections for a while after it has said that it panics.
    const panic = async (machine: OpenZfs) => {
      await expect(machine.run('sh', '-c', 'echo c > /proc/sysrq-trigger')).rejects.toThrow(/went away/);
      const answer = () => machine.run('true').then(() => 'it is there', describeCause);
      while (!(await answer()).includes('cannot reach')) await delay(50);
    };
    try {
      process.env[KEEPER_VARIABLE] = keeper.socket;
      const lost = await startOpenZfs();
      await panic(lost);
      const another = await startOpenZfs();
      expect(another.environment).not.toEqual(lost.environment);
      expect(await another.zfs('list', '-Ho', 'name')).toBe('small\ntank\n');
      await panic(another);
    } finally {
      process.env[KEEPER_VARIABLE] = ofRun;
      await keeper.stop();
    }
    const told = /^OpenZFS: .*qemu it ended.*Kernel panic/s;
    expect(keeper.losses).toEqual([expect.stringMatching(told), expect.stringMatching(told)]);
  }, 480_000);

  test('a machine of one’s own stands beside the shared one and is gone after stop', async () => {
    const own = await startOpenZfs({ own: true });
    const pools = (machine: OpenZfs) => machine.zfs('list', '-Ho', 'name');
    expect(await pools(own)).toBe('small\ntank\n');
    expect(await pools(zfs)).toContain(home);
    await own.stop();
    await expect(own.run('true')).rejects.toThrow(/cannot reach the virtual machine/);
    expect(existsSync('/dev/zvol')).toBe(false);
  }, 240_000);
});
