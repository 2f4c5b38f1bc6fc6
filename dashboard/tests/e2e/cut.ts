/** A network between the browser and the server that can be cut without a word: connections stay open and nothing passes. */

import { createServer, connect, type Socket } from 'node:net';

export interface Network {
  url: string;
  /** From now on nothing passes. What is connected stays connected, and new connections are taken and left waiting. */
  cut(): void;
  /** New connections pass, and those that wait. What was open before the cut is never heard of again. */
  mend(): void;
  close(): Promise<void>;
}

export async function network(target: string): Promise<Network> {
  const { hostname, port } = new URL(target);
  const open = new Set<[Socket, Socket]>();
  const sockets = new Set<Socket>();
  let waiting: (() => void)[] = [];
  let isCut = false;

  const server = createServer({ pauseOnConnect: true }, (near) => {
    sockets.add(near);
    near.on('error', () => near.destroy());
    const through = () => {
      const far = connect(Number(port), hostname);
      sockets.add(far);
      const pair: [Socket, Socket] = [near, far];
      open.add(pair);
      const end = () => {
        open.delete(pair);
        near.destroy();
        far.destroy();
      };
      far.on('error', end).on('close', end);
      near.on('close', end);
      near.pipe(far);
      far.pipe(near);
    };
    if (isCut) waiting.push(through);
    else through();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    cut() {
      isCut = true;
      for (const [near, far] of open) {
        near.unpipe(far).pause();
        far.unpipe(near).pause();
      }
      open.clear();
    },
    mend() {
      isCut = false;
      const all = waiting;
      waiting = [];
      for (const through of all) through();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}
