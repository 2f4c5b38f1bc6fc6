/** A tile server whose tiles are all of one colour, and how much of a picture is of a colour. */

import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { crc32, deflateSync } from 'node:zlib';
import type { Page } from '@playwright/test';

export type Rgb = [number, number, number];

export interface TileServer {
  /** `http://localhost:PORT`: another host than that of the page. */
  url: string;
  /** The colour of its tiles. */
  rgb: Rgb;
  /** What it was asked for, the newest last. */
  asked: { path: string; headers: IncomingHttpHeaders }[];
  /** False: it has no tile at all. */
  answers: boolean;
  stop(): Promise<void>;
}

const SIDE = 256;

/** A picture of one colour. */
export function png([red, green, blue]: Rgb): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIDE, 0);
  header.writeUInt32BE(SIDE, 4);
  // Eight bits per channel, red, green and blue.
  header.set([8, 2], 8);
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(SIDE * 3, Buffer.from([red, green, blue]))]);
  const rows = Buffer.concat(Array.from({ length: SIDE }, () => row));
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

export async function startTileServer(): Promise<TileServer> {
  const rgb: Rgb = [200, 40, 160];
  const tile = png(rgb);
  const http = createServer((request, response) => {
    server.asked.push({ path: request.url ?? '', headers: request.headers });
    if (server.answers) response.writeHead(200, { 'Content-Type': 'image/png', 'Cache-Control': 'no-store' }).end(tile);
    else response.writeHead(404).end();
  });
  await new Promise<void>((done) => http.listen(0, 'localhost', done));
  const server: TileServer = {
    url: `http://localhost:${(http.address() as AddressInfo).port}`,
    rgb,
    asked: [],
    answers: true,
    stop: () =>
      new Promise((done) => {
        http.close(() => done());
        http.closeAllConnections();
      }),
  };
  return server;
}

/** The share of a picture's pixels that are of this colour, give or take what rounding makes of it; the browser reads the picture. */
export function shareOf(page: Page, rgb: Rgb, picture: Buffer): Promise<number> {
  return page.evaluate(
    async ([wanted, base64]) => {
      const image = new Image();
      image.src = `data:image/png;base64,${base64}`;
      await image.decode();
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext('2d') as CanvasRenderingContext2D;
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      let found = 0;
      for (let at = 0; at < data.length; at += 4) {
        if (wanted.every((one, channel) => Math.abs((data[at + channel] as number) - one) <= 4)) found += 1;
      }
      return found / (data.length / 4);
    },
    [rgb, picture.toString('base64')] as const,
  );
}
