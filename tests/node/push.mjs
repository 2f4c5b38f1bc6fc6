// Opens Web Push bodies with http_ece and checks VAPID's and APNs' tokens with jose: libraries that share no code with the
// server or its emulator. Starts both programs itself; PULSEWIRE_BIN names another build of them.
import { spawn } from "node:child_process";
import { createECDH, createPublicKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import ece from "http_ece";
import * as jose from "jose";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const program = process.env.PULSEWIRE_BIN ?? join(root, "target", "debug", "pulsewire");
const folder = mkdtempSync(join(tmpdir(), "pulsewire-push-check-"));
const children = [];
let passed = 0;

/// Starts the program; answers the JSON of its first line.
function start(args, env = {}) {
  const child = spawn(program, args, { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line)));
    child.once("exit", (code) => reject(new Error(`${args[0]} ended with ${code}`)));
  });
}

async function call(base, path, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(base + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status} ${answer.ok ? "" : await answer.text()}`);
  return answer.json();
}

async function check(name, what) {
  await what();
  passed += 1;
  console.log(`ok  ${name}`);
}

/// Asks until there are so many messages.
async function arrived(page, count) {
  for (let i = 0; i < 200; i += 1) {
    const { items } = await call(page, "/api/messages");
    if (items.length >= count) return items;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the messages did not arrive");
}

async function run() {
  const emulator = await start(["push-emulator", "--listen", "127.0.0.1:0", "--page", "127.0.0.1:0", "--dir", folder, "--json"]);
  const page = emulator.page.replace(/\/$/, "");
  const password = "a password for this check";
  const server = await start(
    ["serve", "--config", emulator.config, "--data-dir", join(folder, "data"), "--http-listen", "127.0.0.1:0", "--device-listen", "127.0.0.1:0", "--json"],
    { PULSEWIRE_ADMIN_PASSWORD: password },
  );
  const api = `${server.http}/api/v1`;
  const { token } = await call(api, "/session", { user: "admin", password });
  const { webpush } = await call(api, "/push/config", undefined, token);
  const browser = await call(page, "/api/subscriptions", { label: "Browser", public_key: webpush.public_key });
  const app = await call(page, "/api/apps", { kind: "apns", label: "iPhone" });
  // Words of several alphabets, with what JSON has to escape.
  const label = 'Küche "Nord" \\ 冷蔵庫 ❄';
  for (const endpoint of [
    { kind: "webpush", url: browser.endpoint, keys: browser.keys, label },
    { kind: "apns", token: app.token, label },
  ]) {
    const { id } = await call(api, "/push/endpoints", endpoint, token);
    const answer = await fetch(`${api}/push/endpoints/${id}/test`, { method: "POST", headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 202);
  }
  const messages = await arrived(page, 2);
  const of = (provider) => messages.find((message) => message.provider === provider);
  const header = (message, name) => message.headers.find(([n]) => n === name)?.[1] ?? "";

  const push = of("webpush");
  const body = Buffer.from(push.raw, "base64");
  const curve = createECDH("prime256v1");
  curve.setPrivateKey(Buffer.from(browser.private, "base64url"));
  assert.equal(curve.getPublicKey("base64url"), browser.keys.p256dh);
  const keys = { version: "aes128gcm", privateKey: curve, authSecret: browser.keys.auth };
  await check("http_ece opens the body", () => {
    const text = JSON.parse(ece.decrypt(body, keys).toString("utf8"));
    assert.equal(text.v, 1);
    assert.equal(text.kind, "test");
    assert.ok(text.body.includes(label), text.body);
    assert.ok(body.length <= 2048 + 103);
  });
  await check("http_ece refuses a changed body", () => {
    const changed = Buffer.from(body);
    changed[changed.length - 1] ^= 1;
    assert.throws(() => ece.decrypt(changed, keys));
  });

  const vapid = header(push, "authorization").match(/^vapid t=([^,]+), k=(.+)$/);
  assert.ok(vapid, "the header has its form");
  const point = Buffer.from(vapid[2], "base64url");
  const part = (from, to) => point.subarray(from, to).toString("base64url");
  const key = await jose.importJWK({ kty: "EC", crv: "P-256", x: part(1, 33), y: part(33, 65) }, "ES256");
  const origin = new URL(browser.endpoint).origin;
  await check("jose verifies the VAPID token", async () => {
    assert.equal(vapid[2], webpush.public_key);
    const { payload } = await jose.jwtVerify(vapid[1], key, { audience: origin, algorithms: ["ES256"], requiredClaims: ["exp", "sub"] });
    assert.ok(payload.exp * 1000 - Date.now() <= 24 * 3600 * 1000, "at most 24 hours");
    assert.match(payload.sub, /^mailto:/);
  });
  await check("jose refuses the VAPID token for another origin", async () => {
    await assert.rejects(jose.jwtVerify(vapid[1], key, { audience: "https://push.example.org" }));
  });

  const apple = header(of("apns"), "authorization").replace(/^bearer /, "");
  await check("jose verifies the APNs token", async () => {
    const key = createPublicKey(readFileSync(join(folder, "apns.p8")));
    const { payload, protectedHeader } = await jose.jwtVerify(apple, key, { algorithms: ["ES256"], issuer: "EMULATOR99" });
    assert.equal(protectedHeader.kid, "EMULATOR01");
    assert.ok(Math.abs(payload.iat - Date.now() / 1000) < 60);
  });
}

try {
  await run();
  console.log(`  ${passed} passed`);
} catch (error) {
  console.error(error);
  console.log(`  ${passed} passed\n  1 failed`);
  process.exitCode = 1;
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
