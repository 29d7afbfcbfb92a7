import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeers } from './describe-peers.ts';
import { startOpenZfs, type OpenZfs } from './openzfs.ts';
import { freePorts } from './ports.ts';
import { bridgePorts } from './vm-bridge.ts';

describePeers(['openzfs'], 'the bridge into the virtual machine', () => {
  let machine: OpenZfs;
  beforeAll(async () => {
    machine = await startOpenZfs();
  }, 180_000);
  afterAll(() => machine.stop());

  test('a program inside speaks with a server of this machine', async () => {
    const bytes = randomBytes(5_000_000);
    const port = await freePorts(1);
    const server = createServer((_, response) => response.end(bytes)).listen(port, '127.0.0.1');
    const bridge = await bridgePorts(machine, [port]);
    const ask = `const ask = () => fetch('http://127.0.0.1:${port}').then((answer) => answer.bytes());
      const hash = (bytes) => require('node:crypto').createHash('sha256').update(bytes).digest('hex');
      Promise.all([ask(), ask()]).then((all) => console.log(all.map(hash).join()));`;
    const { stdout } = await machine.runHere(process.execPath, '--eval', ask);
    const wanted = createHash('sha256').update(bytes).digest('hex');
    expect(stdout.trim()).toBe(`${wanted},${wanted}`);
    await bridge.stop();
    server.close();
  }, 120_000);
});
