// Lets a server live faster: libfaketime is loaded into it. The same computation here tells what time it has.
import { execFileSync } from "node:child_process";
import assert from "node:assert/strict";

/// Real time in ms, finer than Date.now().
export function realNow() {
  return performance.timeOrigin + performance.now();
}

/// The library's path, or undefined if faketime is not installed.
function library() {
  try {
    const printed = execFileSync("faketime", ["-m", "-f", "+0", "printenv", "LD_PRELOAD"], { stdio: ["ignore", "pipe", "ignore"] });
    return printed.toString().trim();
  } catch {
    return undefined;
  }
}

/// A clock that runs `rate` times as fast as this machine's. Its time is a straight line through the moment at which the
/// server's process began, which `measure` finds out.
export class AcceleratedClock {
  /// `wallOnly`: the time of day runs fast, while timers and time-outs take as long as ever.
  constructor(rate, { wallOnly = false } = {}) {
    Object.assign(this, { rate, wallOnly, library: library(), from_ms: -Infinity, to_ms: Infinity });
  }

  get available() {
    return this.library !== undefined;
  }

  environment() {
    return { LD_PRELOAD: this.library, FAKETIME: `+0 x${this.rate}`, ...(this.wallOnly && { FAKETIME_DONT_FAKE_MONOTONIC: "1" }) };
  }

  /// Makes a device, whose `created` is the server's time between two moments of ours. Each time narrows down when the
  /// process began; a clock that does not run as it should leaves nothing.
  async measure(admin, id) {
    const before_ms = realNow();
    const { device } = await admin.post("/devices", { id });
    const after_ms = realNow();
    const began = (real_ms) => (real_ms * this.rate - Date.parse(device.created)) / (this.rate - 1);
    this.from_ms = Math.max(this.from_ms, began(before_ms));
    this.to_ms = Math.min(this.to_ms, began(after_ms));
    assert.ok(this.from_ms <= this.to_ms + 0.1, `the clock is not ${this.rate} times as fast: ${this.from_ms - this.to_ms} ms amiss`);
  }

  /// How far the time that is computed here may be off, in ms of the server.
  get uncertainty_ms() {
    return ((this.to_ms - this.from_ms) / 2) * (this.rate - 1);
  }

  /// The server's time in ms since the Unix epoch.
  now() {
    const began_ms = (this.from_ms + this.to_ms) / 2;
    return began_ms + (realNow() - began_ms) * this.rate;
  }
}
