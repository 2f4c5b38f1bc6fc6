/** Charts pinned to the overview, as the query of a saved view: `chart=device:metric&chart=…`. */

export interface Pin {
  device: string;
  metric: string;
}

export const PINS_MAX = 12;

export function samePin(a: Pin, b: Pin): boolean {
  return a.device === b.device && a.metric === b.metric;
}

/** Both names may have colons of their own, so these are written as `%3A`. */
export function pinsQuery(pins: readonly Pin[]): string {
  const query = new URLSearchParams();
  for (const { device, metric } of pins.slice(0, PINS_MAX)) query.append('chart', `${part(device)}:${part(metric)}`);
  return query.toString();
}

function part(name: string): string {
  return name.replaceAll('%', '%25').replaceAll(':', '%3A');
}

/** What cannot be read is left out, and what is there twice is there once. */
export function readPins(query: string): Pin[] {
  const pins: Pin[] = [];
  for (const chart of new URLSearchParams(query).getAll('chart')) {
    const at = chart.indexOf(':');
    if (at <= 0 || at === chart.length - 1 || pins.length === PINS_MAX) continue;
    const whole = (name: string) => name.replaceAll('%3A', ':').replaceAll('%25', '%');
    const pin = { device: whole(chart.slice(0, at)), metric: whole(chart.slice(at + 1)) };
    if (!pins.some((one) => samePin(one, pin))) pins.push(pin);
  }
  return pins;
}
