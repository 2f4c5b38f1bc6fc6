// A device with a rule, by which real alarms are raised: the way from a sample to a phone is the one that users have.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import { atEnd } from "./harness.mjs";
import { root } from "./server.mjs";

const WARM = 11;
const COLD = 9;

/// A room that is too warm above 10 degrees. `now`: the server's time in ms; `message`: what its rule says.
export class Room {
  static async make(server, { id = "room", now = () => Date.now(), message = "Close the door." } = {}) {
    const room = new Room();
    Object.assign(room, { now, last_us: 0 });
    const { secret } = await server.admin.post("/devices", { id });
    await server.admin.post("/rules", {
      ...{ id, name: "Room too warm", scope: { device: id }, metric: "temp", comparison: ">", threshold: 10, severity: "critical" },
      ...{ message, allow_unknown_metric: true, flapping: false },
      notify: { group_by: ["alert"], wait: "0s", interval: "1s" },
    });
    const script = join(root, "tests", "python", "sender.py");
    const env = { PATH: process.env.PATH, PULSEWIRE_DEVICE_SECRET: secret, PYTHONDONTWRITEBYTECODE: "1" };
    room.child = spawn("python3", [script, "--device", server.device, "--id", id], { env, stdio: ["pipe", "pipe", "inherit"] });
    atEnd(() => room.child.kill("SIGKILL"));
    room.lines = createInterface({ input: room.child.stdout })[Symbol.asyncIterator]();
    assert.equal(await room.answer(), "ready");
    return room;
  }

  async answer() {
    return (await this.lines.next()).value;
  }

  async send(value) {
    // No two samples of one time.
    this.last_us = Math.max(Math.floor(this.now() * 1000), this.last_us + 1);
    this.child.stdin.write(`${this.last_us} ${value}\n`);
    assert.equal(await this.answer(), "ok");
  }

  /// Raises the alarm.
  warm() {
    return this.send(WARM);
  }

  /// Ends it.
  cold() {
    return this.send(COLD);
  }

  /// Nothing more is sent.
  leave() {
    this.child.kill("SIGKILL");
  }
}
