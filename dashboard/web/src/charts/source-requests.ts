/** What is asked for, for the lines of a chart. */

export interface Request {
  devices: string[];
  metrics: string[];
}

/** As few requests as say exactly these lines: metrics of the same devices go together. */
export function requestsOf(specs: readonly { readonly device: string; readonly metric: string }[]): Request[] {
  const devicesOf = new Map<string, Set<string>>();
  for (const { device, metric } of specs) devicesOf.set(metric, (devicesOf.get(metric) ?? new Set<string>()).add(device));
  const together = new Map<string, Request>();
  for (const [metric, set] of devicesOf) {
    const devices = [...set].sort();
    // A name with a comma cannot stand in a list.
    const key = metric.includes(',') ? `\u0000${metric}` : devices.join(',');
    const request = together.get(key) ?? { devices, metrics: [] };
    request.metrics.push(metric);
    together.set(key, request);
  }
  return [...together.values()];
}
