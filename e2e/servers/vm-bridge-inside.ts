/** Runs in the virtual machine: listens on the ports of its arguments, and hands every connection out (vm-bridge.ts). */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Connections, FRAME, frame, frameReader } from './vm-bridge.ts';

const send = (bytes: Buffer): void => void process.stdout.write(bytes);
const connections = new Connections(send);
let last = 0;
for (const port of process.argv.slice(2).map(Number)) {
  const where = Buffer.alloc(4);
  where.writeUInt32LE(port);
  const server = createServer((socket) => {
    last += 1;
    send(frame(FRAME.open, last, where));
    connections.add(last, socket);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}
// Number 0 is nobody's: it says that all of them listen.
send(frame(FRAME.open, 0, Buffer.alloc(4)));
process.stdin.on(
  'data',
  frameReader((type, connection, data) => {
    if (type === FRAME.data) connections.data(connection, data);
    else connections.end(connection);
  }),
);
process.stdin.once('end', () => process.exit());
