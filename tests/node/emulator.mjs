// Opens Web Push bodies with http_ece and checks VAPID's and APNs' tokens with jose, as the server's own emulator got them:
// libraries that share no code with the server or its emulator.
import { createECDH, createPublicKey } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import ece from "http_ece";
import * as jose from "jose";
import { check, folder as parent, until } from "./harness.mjs";
import { Api, Server, start } from "./server.mjs";

export async function emulator() {
  const folder = mkdtempSync(join(parent, "emulator-"));
  const listen = ["--listen", "127.0.0.1:0", "--page", "127.0.0.1:0", "--dir", folder];
  const { announced, stop } = await start(["push-emulator", ...listen, "--json"]);
  const page = new Api(announced.page.replace(/\/$/, ""));
  const server = await Server.start({ configFile: announced.config });
  const { admin } = server;
  const { webpush } = await admin.get("/push/config");
  const browser = await page.post("/api/subscriptions", { label: "Browser", public_key: webpush.public_key });
  const app = await page.post("/api/apps", { kind: "apns", label: "iPhone" });
  // Words of several alphabets, with what JSON has to escape.
  const label = 'Küche "Nord" \\ 冷蔵庫 ❄';
  await admin.test(await admin.register({ kind: "webpush", url: browser.endpoint, keys: browser.keys, label }));
  await admin.test(await admin.register({ kind: "apns", token: app.token, label }));
  const messages = await until("two messages", async () => {
    const { items } = await page.get("/api/messages");
    return items.length >= 2 && items;
  });
  const of = (provider) => messages.find((message) => message.provider === provider);
  const header = (message, name) => message.headers.find(([n]) => n === name)?.[1] ?? "";

  const push = of("webpush");
  const body = Buffer.from(push.raw, "base64");
  const curve = createECDH("prime256v1");
  curve.setPrivateKey(Buffer.from(browser.private, "base64url"));
  assert.equal(curve.getPublicKey("base64url"), browser.keys.p256dh);
  const keys = { version: "aes128gcm", privateKey: curve, authSecret: browser.keys.auth };
  await check("emulator: http_ece opens the body", () => {
    const text = JSON.parse(ece.decrypt(body, keys).toString("utf8"));
    assert.equal(text.v, 1);
    assert.equal(text.kind, "test");
    assert.ok(text.body.includes(label), text.body);
    assert.ok(body.length <= 2048 + 103);
  });
  await check("emulator: http_ece refuses a changed body", () => {
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
  await check("emulator: jose verifies the VAPID token", async () => {
    assert.equal(vapid[2], webpush.public_key);
    const { payload } = await jose.jwtVerify(vapid[1], key, { audience: origin, algorithms: ["ES256"], requiredClaims: ["exp", "sub"] });
    assert.ok(payload.exp * 1000 - Date.now() <= 24 * 3600 * 1000, "at most 24 hours");
    assert.match(payload.sub, /^mailto:/);
  });
  await check("emulator: jose refuses the VAPID token for another origin", async () => {
    await assert.rejects(jose.jwtVerify(vapid[1], key, { audience: "https://push.example.org" }));
  });

  const apple = header(of("apns"), "authorization").replace(/^bearer /, "");
  await check("emulator: jose verifies the APNs token", async () => {
    const key = createPublicKey(readFileSync(join(folder, "apns.p8")));
    const { payload, protectedHeader } = await jose.jwtVerify(apple, key, { algorithms: ["ES256"], issuer: "EMULATOR99" });
    assert.equal(protectedHeader.kid, "EMULATOR01");
    assert.ok(Math.abs(payload.iat - Date.now() / 1000) < 60);
  });
  server.stop();
  stop();
}
