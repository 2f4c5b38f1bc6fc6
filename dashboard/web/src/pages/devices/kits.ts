/** Ways to connect a device, as text that runs: the programs in `kits/`, with this server and this device filled in. */

import cUrl from './kits/c.txt?url';
import bytesUrl from './kits/bytes.txt?url';
import pythonUrl from './kits/python.txt?url';

export const KITS = ['python', 'c', 'simulator', 'bytes'] as const;
export type Kit = (typeof KITS)[number];

/** Where devices reach the server, as this page knows it. */
export interface Place {
  /** Without brackets around an IPv6 address. */
  host: string;
  port: number;
  tls: boolean;
}

interface Program {
  url: string;
  /** Name of the file. */
  file: string;
  /** What runs it; the secret comes before it. */
  run: (file: string) => string;
  variable: 'PULSEWIRE_DEVICE_SECRET' | 'PULSEWIRE_DEVICE_TOKEN';
}

export const PROGRAMS: Record<Exclude<Kit, 'simulator'>, Program> = {
  python: { url: pythonUrl, file: 'pulsewire_device.py', run: (file) => `python3 ${file}`, variable: 'PULSEWIRE_DEVICE_SECRET' },
  c: { url: cUrl, file: 'pulsewire_device.c', run: (file) => `sh -c 'cc -O2 ${file} -o pulsewire_device && ./pulsewire_device'`, variable: 'PULSEWIRE_DEVICE_SECRET' },
  bytes: { url: bytesUrl, file: 'pulsewire_bytes.sh', run: (file) => `bash ${file}`, variable: 'PULSEWIRE_DEVICE_TOKEN' },
};

/** What a device id, a host and a port are made of needs no quoting in any of the languages. */
export function fill(program: string, device: string, place: Place): string {
  const values: Record<string, string> = { host: place.host, port: String(place.port), device, tls: place.tls ? 'True' : 'False' };
  return program.replace(/\{(host|port|device|tls)\}/g, (_, name: string) => values[name] as string);
}

export function runCommand(kit: Exclude<Kit, 'simulator'>, secret: string): string {
  const { file, run, variable } = PROGRAMS[kit];
  return `${variable}=${secret} ${run(file)}`;
}

/** The simulator as this one device, with the load and the temperatures of the machine it runs on. */
export function simulatorCommand(device: string, secret: string, { host, port }: Place): string {
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const file = `${device.replaceAll(':', '_')}-secret.json`;
  return [
    `(umask 077; echo '{"devices": {"${device}": "${secret}"}}' > ${file})`,
    `pulsewire-sim host --device ${device} --connect ${address} --secret-file ${file}`,
  ].join('\n');
}

const loaded = new Map<string, Promise<string>>();

export function program(kit: Exclude<Kit, 'simulator'>): Promise<string> {
  const { url } = PROGRAMS[kit];
  let text = loaded.get(url);
  if (text === undefined) {
    text = fetch(url).then((answer) => {
      if (!answer.ok) throw new Error(`${answer.status}`);
      return answer.text();
    });
    // One that failed is tried again.
    text.catch(() => loaded.delete(url));
    loaded.set(url, text);
  }
  return text;
}
