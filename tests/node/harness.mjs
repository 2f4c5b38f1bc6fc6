// Counts checks, waits for conditions, and ends what was started. A part is a function; the first check of it that fails ends
// it, and the others go on.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/// For certificates, data and logs; gone at the end.
export const folder = mkdtempSync(join(tmpdir(), "pulsewire-push-check-"));
/// Storms have their own pace: pauses double by chance.
export const STORM_MS = 150_000;
const endings = [];
const witnesses = [];
const counts = { passed: 0, failed: 0 };

/// Does this at the end, last things first.
export function atEnd(what) {
  endings.push(what);
}

/// What to add to a failure, for people who look for its cause.
export function atFailure(what) {
  witnesses.push(what);
}

/// One thing that must hold.
export async function check(name, what) {
  await what();
  counts.passed += 1;
  console.log(`ok  ${name}`);
}

/// Says aloud what was left out; test.sh repeats such lines in its summary.
export function notRun(what, why) {
  console.log(`not run: ${what}: ${why}`);
}

/// Asks until the answer is neither false nor undefined, and gives it.
export async function until(what, probe, { within_ms = 60_000 } = {}) {
  const end = performance.now() + within_ms;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (performance.now() > end) throw new Error(`${what}: not within ${within_ms} ms`);
    await pause(20);
  }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function runPart([name, part]) {
  const began = performance.now();
  try {
    await part();
  } catch (error) {
    counts.failed += 1;
    console.error(`FAILED ${name}:`, error);
    for (const words of witnesses) console.error(words());
  }
  console.log(`    ${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

/// Runs one group of parts after the other, those of a group at the same time; says how many checks passed, and how many parts
/// failed.
export async function run(groups) {
  for (const group of groups) await Promise.all(group.map(runPart));
  for (const end of endings.reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
  console.log(`  ${counts.passed} passed`);
  if (counts.failed > 0) console.log(`  ${counts.failed} failed`);
  // What a part that failed left open keeps nobody waiting.
  process.exit(counts.failed > 0 ? 1 : 0);
}
