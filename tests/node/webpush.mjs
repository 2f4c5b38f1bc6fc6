// Web Push judged by strangers: bodies are opened by http_ece of npm and of PyPI, VAPID tokens are judged by jose and py-vapid.
import { createPublicKey } from "node:crypto";
import assert from "node:assert/strict";
import ece from "http_ece";
import * as jose from "jose";
import { certificates } from "./certificates.mjs";
import { check, notRun, until } from "./harness.mjs";
import { environment, verifyInPython } from "./python_verifier.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";
import { PushService } from "./webpush_stand_in.mjs";

const SUBJECT = "mailto:check@example.org";
const DAY_S = 86_400;
/// The largest text of ours, and what RFC 8188 adds to it.
const TEXT_BYTES_MAX = 2048;
const SEALED_BYTES_MORE = 86 + 17;

export async function webpush() {
  const server = await Server.start({
    push: { extra_root_file: certificates().ca_file, allow_private_endpoints: true, vapid_subject: SUBJECT },
  });
  const { admin } = server;
  const key = (await admin.get("/push/config")).webpush.public_key;
  // Two origins, which want tokens of their own.
  const services = await Promise.all([PushService.listen(), PushService.listen()]);
  const browsers = services.flatMap((service) => [0, 1, 2].map(() => ({ service, ...service.subscribe() })));
  for (const browser of browsers) await admin.register(browser.endpoint);
  // Words that need escapes and many bytes, as long as an alert's text may be.
  const message = 'Küche "Nord" \\ 冷蔵庫 ❄ '.repeat(15).trim();
  const room = await Room.make(server, { message });
  await room.warm();
  const pushes = [];
  for (const browser of browsers) pushes.push({ ...browser, push: await first(browser) });
  const open = ({ curve, keys, push }, body = push.body) =>
    ece.decrypt(body, { version: "aes128gcm", privateKey: curve, authSecret: keys.auth }).toString("utf8");

  await check("Web Push: npm's http_ece opens every body, and refuses it changed or for another browser", () => {
    for (const [n, one] of pushes.entries()) {
      judgeText(open(one), message);
      assert.ok(one.push.body.length <= TEXT_BYTES_MAX + SEALED_BYTES_MORE, `${one.push.body.length} bytes`);
      const changed = Buffer.from(one.push.body);
      changed[changed.length - 1] ^= 1;
      assert.throws(() => open(one, changed));
      assert.throws(() => open(one, pushes[(n + 1) % pushes.length].push.body));
    }
    const salts = new Set(pushes.map(({ push }) => push.body.subarray(0, 16).toString("hex")));
    assert.equal(salts.size, pushes.length, "each has a salt of its own");
  });
  await check("Web Push: TTL, Topic, Urgency and encoding are as RFC 8030 wants them", () => {
    for (const { push } of pushes) {
      const { ttl, topic, urgency, "content-encoding": encoding } = push.headers;
      assert.ok(/^[0-9]+$/.test(ttl) && Number(ttl) > 0 && Number(ttl) <= 30 * DAY_S, ttl);
      assert.match(topic, /^[\w-]{1,32}$/);
      assert.deepEqual([urgency, encoding], ["high", "aes128gcm"]);
    }
  });
  await check("Web Push: jose verifies every VAPID token for its own origin only", async () => {
    for (const { service, push } of pushes) {
      const { token, k } = vapid(push);
      assert.equal(k, key);
      const options = { algorithms: ["ES256"], subject: SUBJECT, requiredClaims: ["aud", "exp", "sub"] };
      const { payload } = await jose.jwtVerify(token, publicKey(k), { ...options, audience: service.origin });
      assert.ok(payload.exp - Date.now() / 1000 <= DAY_S, "at most 24 hours");
      const other = services.find((one) => one !== service).origin;
      await assert.rejects(jose.jwtVerify(token, publicKey(k), { ...options, audience: other }));
    }
  });
  await inPython(pushes, message);
  room.leave();
  for (const service of services) service.close();
  server.stop();
}

async function inPython(pushes, message) {
  const asked = pushes.map(({ curve, keys, push }) => ({
    ...{ body: push.body.toString("base64url"), private: curve.getPrivateKey("base64url"), auth: keys.auth },
    authorization: push.headers.authorization,
  }));
  // Another browser's body, and the signature for another origin.
  const [own, foreign] = [asked[0], asked.at(-1)].map(({ authorization }) => authorization.match(/^(.*)\.([\w-]+)(, ?k=.*)$/));
  const forged = { ...asked[0], body: asked[1].body, authorization: `${own[1]}.${foreign[2]}${own[3]}` };
  let python;
  try {
    python = await environment();
  } catch (error) {
    const why = `${error.stderr || error.message}`.trim().split("\n").at(-1);
    return notRun("Web Push: http_ece and py-vapid of PyPI", `they cannot be had: ${why}`);
  }
  const answers = verifyInPython(python, [...asked, forged]);
  await check("Web Push: PyPI's http_ece opens every body, and not one of another browser", () => {
    for (const { text } of answers.slice(0, -1)) judgeText(text, message);
    assert.equal(answers.at(-1).text, null);
  });
  await check("Web Push: py-vapid verifies every VAPID token, and not one with another's signature", () => {
    for (const [n, { service }] of pushes.entries()) {
      const { signed, subject, claims } = answers[n];
      assert.deepEqual([signed, subject, claims.aud, claims.sub], [true, true, service.origin, SUBJECT]);
      assert.ok(claims.exp > Date.now() / 1000 && claims.exp <= Date.now() / 1000 + DAY_S, `${claims.exp}`);
    }
    assert.equal(answers.at(-1).signed, false);
  });
}

function first({ service, path }) {
  return until("a push", () => service.of({ path })[0]);
}

function vapid(push) {
  const parts = push.headers.authorization.match(/^vapid t=([^,]+), ?k=(.+)$/);
  assert.ok(parts, push.headers.authorization);
  return { token: parts[1], k: parts[2] };
}

function publicKey(k) {
  const point = Buffer.from(k, "base64url");
  const part = (from, to) => point.subarray(from, to).toString("base64url");
  return createPublicKey({ format: "jwk", key: { kty: "EC", crv: "P-256", x: part(1, 33), y: part(33, 65) } });
}

/// What a browser shows.
function judgeText(text, message) {
  const shown = JSON.parse(text);
  assert.ok(Buffer.byteLength(text) <= TEXT_BYTES_MAX, `${Buffer.byteLength(text)} bytes`);
  assert.deepEqual([shown.v, shown.kind, shown.severity, shown.title], [1, "firing", "critical", "Room too warm"]);
  assert.ok(shown.body.includes(message), shown.body);
}
