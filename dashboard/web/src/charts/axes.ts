/** Where an axis has its labels, and how far it reaches. */

/** Seconds between two labels that read well. */
const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600,
  2_592_000, 7_776_000, 31_536_000,
];
const DAY = 86_400;

/** Times in seconds at which labels fit, `room` pixels apart at least, and the step between them. Whole in local time, or in UTC. */
export function timeTicks(from: number, to: number, width: number, room: number, utc = false): { at: number[]; step: number } {
  const wanted = ((to - from) / Math.max(1, width)) * room;
  const step = STEPS.find((one) => one >= wanted) ?? (STEPS.at(-1) as number);
  const at: number[] = [];
  if (step < DAY) {
    const zone = utc ? 0 : new Date(from * 1000).getTimezoneOffset() * 60;
    for (let time = Math.ceil((from - zone) / step) * step + zone; time <= to; time += step) at.push(time);
  } else if (utc) {
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) at.push(time);
  } else {
    // Days differ in length where clocks are changed, so they are counted by the calendar.
    const day = new Date(from * 1000);
    day.setHours(0, 0, 0, 0);
    for (; day.getTime() <= to * 1000; day.setDate(day.getDate() + step / DAY)) {
      if (day.getTime() >= from * 1000) at.push(day.getTime() / 1000);
    }
  }
  return { at, step };
}

/** 1, 2, 2.5 or 5 times a power of ten, and not less than wanted. */
function niceStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted));
  return power * ([1, 2, 2.5, 5].find((one) => one * power >= wanted * 0.999_999) ?? 10);
}

/** Pixels between two labels of values. */
const ROOM = 26;

export function valueTicks(low: number, high: number, height: number): number[] {
  const step = niceStep((high - low) / Math.max(1, Math.floor(height / ROOM)));
  const ticks: number[] = [];
  // Counted in whole steps: sums of tenths would not stay tenths.
  for (let count = Math.ceil(low / step - 1e-6); count * step <= high + step * 1e-6; count += 1) {
    ticks.push(Number((count * step).toPrecision(10)));
  }
  return ticks;
}

/**
 * The range for values: a tenth of space around them, and no negative part for values that have none. Its ends are
 * round, so that an axis does not crawl with each new sample.
 */
export function valueRange(min: number, max: number): [number, number] {
  // A flat line needs some space around it: a twentieth of its value, or one.
  const margin = max > min ? (max - min) * 0.1 : max === 0 ? 1 : Math.abs(max) * 0.05;
  const step = niceStep((max - min + 2 * margin) / 20);
  const low = Math.floor((min - margin) / step) * step;
  return [min >= 0 && low < 0 ? 0 : low, min < 0 && max <= 0 && max + margin > 0 ? 0 : Math.ceil((max + margin) / step) * step];
}
