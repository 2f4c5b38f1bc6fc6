/**
 * A Web Push service as Mozilla's: browsers keep a WebSocket to it (autopush protocol), senders post to it over TLS
 * (RFC 8030). What it takes is as strict as the real one is with senders.
 */

import { execFile } from 'node:child_process';
import { createPublicKey, randomUUID, verify } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createSecureServer, type Http2SecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WebSocketServer, type WebSocket } from 'ws';

/** Bytes of a body: what RFC 8030 asks every push service to take, and this one takes no more. */
const BODY_BYTES_MAX = 4096;

/** A subscription of a browser. */
interface Channel {
  id: string;
  uaid: string;
  /** The only key whose holder may send to it. */
  key: string;
}

/** What a sender posted, and what became of it. */
export interface Push {
  version: string;
  channel: string;
  topic: string;
  urgency: string;
  body: Buffer;
  expiresMs: number;
  /** How often it was sent to the browser. */
  sent: number;
  /** 100 = the service worker took it, 101 = it could not be decrypted, 102 = not delivered. */
  ack: number | null;
  /** A later one with the same topic took its place while the browser was away. */
  replaced: boolean;
}

export class PushService {
  readonly #sockets: WebSocketServer;
  readonly #door: Http2SecureServer;
  /** By the last part of their endpoints. */
  readonly #channels = new Map<string, Channel>();
  readonly #connected = new Map<string, WebSocket>();
  /** Connections of senders. */
  readonly #senders = new Set<{ destroy(): void }>();
  #known = new Set<string>();
  #away = false;
  #damage = false;
  #loseAnswer = false;
  /** Everything that was taken, oldest first. */
  readonly pushes: Push[] = [];
  /** Answers that were not 201, as `STATUS reason`. */
  readonly refused: string[] = [];
  /** The UAIDs that browsers asked for and got, oldest first. */
  readonly hellos: { asked: string; got: string }[] = [];
  readonly caFile: string;

  private constructor(caFile: string, sockets: WebSocketServer, door: Http2SecureServer) {
    this.caFile = caFile;
    this.#sockets = sockets;
    this.#door = door;
    sockets.shouldHandle = () => !this.#away;
    sockets.on('connection', (socket) => this.#connect(socket));
    door.on('request', (request, response) => {
      this.#post(request, response).catch((error: unknown) => {
        this.refused.push(`500 ${error}`);
        response.writeHead(500).end();
      });
    });
  }

  /** Its certificate authority is made in `folder`. */
  static async start(folder: string): Promise<PushService> {
    const { caFile, cert, key } = await certificates(folder);
    const door = createSecureServer({ cert, key, allowHTTP1: true });
    const sockets = new WebSocketServer({
      host: '127.0.0.1',
      port: 0,
      handleProtocols: (offered) => (offered.has('push-notification') ? 'push-notification' : false),
    });
    await Promise.all([
      new Promise<void>((done) => sockets.once('listening', done)),
      new Promise<void>((done) => door.listen(0, '127.0.0.1', done)),
    ]);
    return new PushService(caFile, sockets, door);
  }

  /** Where browsers connect. */
  get url(): string {
    return `ws://127.0.0.1:${(this.#sockets.address() as AddressInfo).port}/ws`;
  }

  get #origin(): string {
    return `https://127.0.0.1:${(this.#door.address() as AddressInfo).port}`;
  }

  /** Connected browsers. */
  get browsers(): number {
    return this.#connected.size;
  }

  /** Addresses that browsers hold now. */
  get endpoints(): string[] {
    return [...this.#channels.keys()].map((token) => this.#endpoint(token));
  }

  /** Drops all browsers, and takes none until `back`. */
  leave(): void {
    this.#away = true;
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  back(): void {
    this.#away = false;
  }

  /** All browsers and their subscriptions are forgotten: they get another UAID when they come back. */
  forget(): void {
    this.#known = new Set();
    this.#channels.clear();
  }

  /** One bit of the next message's body is flipped on its way to the browser. */
  damageNext(): void {
    this.#damage = true;
  }

  /** The next message is taken, and its sender's connection breaks before it hears so. */
  loseNextAnswer(): void {
    this.#loseAnswer = true;
  }

  /** What waits for browsers that are away. */
  get waiting(): Push[] {
    return this.pushes.filter((push) => push.ack === null && !push.replaced && push.expiresMs > Date.now());
  }

  async stop(): Promise<void> {
    this.leave();
    await new Promise((done) => this.#sockets.close(done));
    await new Promise<void>((done) => {
      this.#door.close(() => done());
      // The server keeps its connection open.
      for (const sender of this.#senders) sender.destroy();
    });
  }

  #endpoint(token: string): string {
    return `${this.#origin}/wpush/v2/${token}`;
  }

  #connect(socket: WebSocket): void {
    let uaid = '';
    socket.on('error', () => socket.terminate());
    socket.on('close', () => {
      if (this.#connected.get(uaid) === socket) this.#connected.delete(uaid);
    });
    socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as Record<string, unknown>;
      const answer = (value: Record<string, unknown>) => socket.send(JSON.stringify({ messageType: message.messageType, status: 200, ...value }));
      switch (message.messageType) {
        case 'hello': {
          const asked = typeof message.uaid === 'string' ? message.uaid : '';
          uaid = this.#known.has(asked) ? asked : randomUUID().replaceAll('-', '');
          this.#known.add(uaid);
          this.hellos.push({ asked, got: uaid });
          answer({ uaid, use_webpush: true, broadcasts: {} });
          this.#connected.set(uaid, socket);
          for (const push of this.waiting) this.#deliver(push);
          return;
        }
        case 'register': {
          const token = randomUUID().replaceAll('-', '');
          // Firefox writes the key with padding, senders without.
          const key = Buffer.from(String(message.key), 'base64url').toString('base64url');
          this.#channels.set(token, { id: String(message.channelID), uaid, key });
          return answer({ channelID: message.channelID, pushEndpoint: this.#endpoint(token) });
        }
        case 'unregister': {
          for (const [token, channel] of this.#channels) if (channel.id === message.channelID) this.#channels.delete(token);
          return answer({ channelID: message.channelID });
        }
        case 'ack': {
          for (const { version, code } of message.updates as { version: string; code: number }[]) {
            const push = this.pushes.find((one) => one.version === version);
            if (push !== undefined) push.ack = code;
          }
          return;
        }
        case undefined:
        case 'ping':
          return socket.send('{}');
        default:
      }
    });
  }

  #deliver(push: Push): void {
    const channel = [...this.#channels.values()].find((one) => one.id === push.channel);
    const socket = channel && this.#connected.get(channel.uaid);
    if (socket === undefined) return;
    const body = Buffer.from(push.body);
    if (this.#damage) {
      this.#damage = false;
      const last = body.length - 1;
      body[last] = (body[last] ?? 0) ^ 1;
    }
    push.sent += 1;
    const headers = { encoding: 'aes128gcm' };
    socket.send(JSON.stringify({ messageType: 'notification', channelID: push.channel, version: push.version, data: body.toString('base64url'), headers }));
  }

  async #post(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    this.#senders.add(request.stream?.session ?? request.socket);
    const refuse = (status: number, reason: string) => {
      this.refused.push(`${status} ${reason}`);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ code: status, message: reason }));
    };
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const header = (name: string) => String(request.headers[name] ?? '');
    const channel = this.#channels.get(/^\/wpush\/v2\/(\w+)$/.exec(request.url)?.[1] ?? '');
    if (request.method !== 'POST') return refuse(405, 'not a POST');
    if (channel === undefined) return refuse(410, 'no such subscription');
    if (!/^\d+$/.test(header('ttl'))) return refuse(400, 'no TTL');
    if (header('content-encoding') !== 'aes128gcm') return refuse(400, 'not aes128gcm');
    if (body.length > BODY_BYTES_MAX) return refuse(413, 'too large');
    const topic = header('topic');
    if (!/^[\w-]{0,32}$/.test(topic)) return refuse(400, 'bad topic');
    const wrong = unauthorized(header('authorization'), channel.key, this.#origin);
    if (wrong !== null) return refuse(401, wrong);

    const push: Push = {
      version: randomUUID(),
      channel: channel.id,
      topic,
      urgency: header('urgency'),
      body,
      expiresMs: Date.now() + Number(header('ttl')) * 1000,
      sent: 0,
      ack: null,
      replaced: false,
    };
    for (const old of this.waiting) {
      if (topic !== '' && old.topic === topic && old.channel === push.channel && old.sent === 0) old.replaced = true;
    }
    this.pushes.push(push);
    this.#deliver(push);
    if (this.#loseAnswer) {
      this.#loseAnswer = false;
      return void (request.stream?.session ?? request.socket).destroy();
    }
    response.writeHead(201, { location: `${this.#origin}/m/${push.version}`, ttl: header('ttl') }).end();
  }
}

/** What is wrong with the sender's VAPID token (RFC 8292); null = nothing. */
function unauthorized(authorization: string, key: string, origin: string): string | null {
  const [, token, sender] = /^vapid t=([^,]+), *k=([\w-]+)$/.exec(authorization) ?? [];
  if (token === undefined || sender === undefined) return 'no VAPID token';
  if (sender !== key) return 'not the key of the subscription';
  const [header, payload, signature] = token.split('.');
  const point = Buffer.from(key, 'base64url');
  const jwk = { kty: 'EC', crv: 'P-256', x: point.subarray(1, 33).toString('base64url'), y: point.subarray(33, 65).toString('base64url') };
  const signed = Buffer.from(`${header}.${payload}`);
  const checked = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' as const };
  if (!verify('sha256', signed, checked, Buffer.from(signature ?? '', 'base64url'))) return 'bad signature';
  const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString()) as { aud: string; exp: number };
  if (claims.aud !== origin) return `for ${claims.aud}`;
  const left = claims.exp - Date.now() / 1000;
  return left > 0 && left <= 24 * 3600 ? null : 'its time is over, or too far away';
}

/** A certificate authority and a certificate for 127.0.0.1, good for two days. */
async function certificates(folder: string): Promise<{ caFile: string; cert: Buffer; key: Buffer }> {
  const path = (name: string) => join(folder, name);
  await writeFile(
    path('openssl.cnf'),
    `[req]
distinguished_name = name
prompt = no
[name]
CN = Push service for tests
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[host]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
`,
  );
  const openssl = (extensions: string, name: string, ...more: string[]) => {
    const made = ['-keyout', path(`${name}.key`), '-out', path(`${name}.pem`), '-config', path('openssl.cnf'), '-extensions', extensions];
    return promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', ...made, ...more]);
  };
  await openssl('ca', 'ca');
  await openssl('host', 'host', '-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-subj', '/CN=127.0.0.1');
  return { caFile: path('ca.pem'), cert: await readFile(path('host.pem')), key: await readFile(path('host.key')) };
}
