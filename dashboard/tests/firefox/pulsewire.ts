/** `pulsewire serve` with a configuration of its own, and devices that the simulator plays. */

import { type ChildProcess, execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ended, started } from '../processes';

export const PASSWORD = 'correct horse battery';

const PROGRAM = process.env.PULSEWIRE_BIN ?? resolve(import.meta.dirname, '../../../target/debug/pulsewire');
const SIMULATOR = join(dirname(PROGRAM), 'pulsewire-sim');

export interface Endpoint {
  id: string;
  label: string;
  state: string;
  removed_reason: string | null;
  last_delivered: string | null;
}

export interface Message {
  id: string;
  kind: string;
  alert: string | null;
  state: string;
  reason: string;
  reason_text: string;
  title: string;
  body: string;
  deliveries: { endpoint: string; state: string; attempts: number; reason: string; timeline: { event: string; status: number; text: string }[] }[];
}

export class Pulsewire {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly #device: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  #token = '';
  #reports = 0;

  private constructor(child: ChildProcess, folder: string, addresses: { http: string; device: string }) {
    this.#child = child;
    this.#folder = folder;
    this.url = addresses.http.replace(/\/$/, '');
    this.#device = addresses.device;
  }

  /** `caFile`: who vouches for the push service. */
  static async start(folder: string, caFile: string): Promise<Pulsewire> {
    const config = join(folder, 'pulsewire.toml');
    await writeFile(
      config,
      `[push]
grace = "500ms"
allow_private_endpoints = true
extra_root_file = ${JSON.stringify(caFile)}
vapid_subject = "mailto:tests@example.org"
`,
    );
    const listen = ['--http-listen', '127.0.0.1:0', '--device-listen', '127.0.0.1:0'];
    const args = ['serve', '--config', config, '--data-dir', join(folder, 'data'), ...listen, '--json'];
    const env = { PULSEWIRE_ADMIN_PASSWORD: PASSWORD };
    const { child, says } = await started<{ http: string; device: string }>(PROGRAM, args, { cwd: folder, env });
    try {
      const server = new Pulsewire(child, folder, says);
      const { token } = (await server.call('POST', '/session', { user: 'admin', password: PASSWORD })) as { token: string };
      server.#token = token;
      return server;
    } catch (error) {
      await ended(child);
      throw error;
    }
  }

  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (this.#token !== '') headers.authorization = `Bearer ${this.#token}`;
    const answer = await fetch(`${this.url}/api/v1${path}`, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  }

  async endpoints(): Promise<Endpoint[]> {
    return ((await this.call('GET', '/push/endpoints')) as { items: Endpoint[] }).items;
  }

  /** What was told of a device's alerts, oldest first. */
  async messages(device: string): Promise<Message[]> {
    const { items } = (await this.call('GET', `/alerts?state=all&device=${device}`)) as { items: { id: string }[] };
    const alerts = new Set(items.map((alert) => alert.id));
    const messages = (await this.call('GET', '/push/messages?limit=100')) as { items: Message[] };
    return messages.items.filter((message) => message.alert !== null && alerts.has(message.alert)).reverse();
  }

  /** A device of this name connects, reports one temperature of now, and goes. It is made if there is none yet. */
  async report(device: string, temperature: number): Promise<void> {
    this.#reports += 1;
    const file = join(this.#folder, `report-${this.#reports}.csv`);
    await writeFile(file, `timestamp,device,temperature\n${new Date().toISOString()},${device},${temperature.toFixed(1)}\n`);
    const connect = ['--connect', this.#device, '--api', this.url, '--secret-file', join(this.#folder, 'secrets.json')];
    await promisify(execFile)(SIMULATOR, ['replay', file, '--quiet', ...connect], {
      cwd: this.#folder,
      env: { ...process.env, PULSEWIRE_ADMIN_PASSWORD: PASSWORD },
      timeout: 30_000,
    });
  }

  stop(): Promise<void> {
    return ended(this.#child);
  }
}
