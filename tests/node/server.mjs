// `pulsewire serve` as a child process, and its HTTP API. PULSEWIRE_BIN names another build of it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { atEnd, atFailure, folder, until } from "./harness.mjs";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
export const program = process.env.PULSEWIRE_BIN ?? join(root, "target", "debug", "pulsewire");
const PASSWORD = "a password for this check";

/// Starts a program of ours; answers the JSON of its first line, and what ends it.
export function start(args, { env = {}, log } = {}) {
  const errors = log === undefined ? "inherit" : openSync(log, "a");
  const child = spawn(program, args, { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", errors] });
  if (log !== undefined) closeSync(errors);
  const stop = () => child.kill("SIGKILL");
  atEnd(stop);
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", (line) => resolve({ announced: JSON.parse(line), stop }));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${args[0]} ended with ${code}`)));
  });
}

/// The API as one user.
export class Api {
  constructor(base, token, name) {
    Object.assign(this, { base, token, name });
  }

  /// On a connection of its own: a server that lives fast soon closes one that is idle, which could cross with a request.
  async ask(method, path, body) {
    const headers = { ...(body && { "content-type": "application/json" }), ...(this.token && { authorization: `Bearer ${this.token}` }) };
    const asked = request(this.base + path, { method, headers, agent: false });
    asked.end(body && JSON.stringify(body));
    const [answer] = await once(asked, "response");
    const text = (await answer.setEncoding("utf8").toArray()).join("");
    // It saw a connection and, by its clock, no request for too long; nothing was done.
    if (answer.statusCode === 408 && text === "") return this.ask(method, path, body);
    return { status: answer.statusCode, body: text === "" ? undefined : JSON.parse(text) };
  }

  /// Anything but success is an error.
  async call(method, path, body) {
    const { status, body: answer } = await this.ask(method, path, body);
    assert.ok(status >= 200 && status < 300, `${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    return answer;
  }

  get(path) {
    return this.call("GET", path);
  }

  post(path, body) {
    return this.call("POST", path, body);
  }

  /// Registers an endpoint; answers its id.
  async register(endpoint) {
    return (await this.post("/push/endpoints", endpoint)).id;
  }

  /// Sends a test message; answers its id.
  async test(endpoint) {
    return (await this.post(`/push/endpoints/${endpoint}/test`)).id;
  }

  async endpoint(id) {
    return (await this.get("/push/endpoints")).items.find((one) => one.id === id);
  }

  /// The only delivery of a message, once its state is one of these and it is as wanted.
  delivery(message, states = ["delivered", "dead", "dropped", "withdrawn"], wanted = () => true) {
    return until(`message ${message} is ${states.join(" or ")}`, async () => {
      const [delivery] = (await this.get(`/push/messages/${message}`)).deliveries;
      return states.includes(delivery?.state) && wanted(delivery) && delivery;
    });
  }
}

/// A server on ports and a data folder of its own.
export class Server {
  /// `push`: keys of that section, or `configFile`: a whole file; `clock`: an `AcceleratedClock`.
  static async start({ push, configFile, clock }) {
    const server = new Server();
    server.folder = mkdtempSync(join(folder, "server-"));
    server.log = join(server.folder, "server.log");
    atFailure(() => `${server.log}:\n${server.words().split("\n").slice(-20).join("\n")}`);
    const config = configFile ?? server.configure(push);
    const listen = ["--http-listen", "127.0.0.1:0", "--device-listen", "127.0.0.1:0"];
    const { announced, stop } = await start(
      ["serve", "--config", config, "--data-dir", join(server.folder, "data"), ...listen, "--json"],
      { env: { PULSEWIRE_ADMIN_PASSWORD: PASSWORD, ...clock?.environment() }, log: server.log },
    );
    server.base = `${announced.http}/api/v1`;
    server.device = announced.device;
    server.stop = stop;
    server.admin = await server.signIn("admin");
    // Who gets the messages is no admin: admins are also told of providers' troubles.
    server.kim = await server.user("kim");
    // As many messages as may be, so that none is held to go with others.
    await server.kim.call("PUT", "/push/preferences", { per_minute: 60 });
    return server;
  }

  configure(push) {
    const file = join(this.folder, "pulsewire.toml");
    // What JSON escapes, TOML escapes in the same way.
    const lines = Object.entries({ grace: "0ms", ...push }).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`);
    writeFileSync(file, `[http]\nsign_ins_per_minute = 1000\n[push]\n${lines.join("")}`);
    return file;
  }

  async signIn(name) {
    const { token } = await new Api(this.base).post("/session", { user: name, password: PASSWORD });
    return new Api(this.base, token, name);
  }

  /// Another person: test messages are counted per user and minute.
  async user(name) {
    await this.admin.post("/users", { name, password: PASSWORD, role: "viewer" });
    return this.signIn(name);
  }

  /// What the server wrote, for people who look for a mistake.
  words() {
    return readFileSync(this.log, "utf8");
  }
}
