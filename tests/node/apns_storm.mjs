// Storms of 429, 500, 503 and resets: what Apple asks for is waited, all is delivered in the end, nobody is removed. The
// server lives 12 times as fast, timers included, since what it waits by itself is up to minutes.
import { constants } from "node:http2";
import assert from "node:assert/strict";
import { AcceleratedClock } from "./accelerated_clock.mjs";
import { Apns, deviceToken } from "./apns_stand_in.mjs";
import { STORM_MS, check, notRun, until } from "./harness.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";

const RATE = 12;
const PHONES = 32;
/// Each phone's message is refused so often, in ways that follow each other here, forwards or backwards.
const EACH = 5;
const REFUSALS = [
  { status: 429, reason: "TooManyRequests" },
  { status: 429, reason: "TooManyRequests", headers: { "retry-after": "20" } },
  { status: 500, reason: "InternalServerError" },
  { status: 503, reason: "ServiceUnavailable" },
  { status: 503, reason: "ServiceUnavailable", headers: { "retry-after": "3" } },
  { status: 503, reason: "Shutdown" },
  { reset: constants.NGHTTP2_INTERNAL_ERROR },
  { reset: constants.NGHTTP2_REFUSED_STREAM },
];
/// Where a 429 says nothing, and where keys are not right, the server waits for a minute: docs/push.md.
const OWN_WAIT_MS = 60_000;

export async function apnsStorm() {
  const clock = new AcceleratedClock(RATE);
  if (!clock.available) return notRun("APNs: storms of 429, 503 and resets", "faketime is not installed");
  const apns = await Apns.listen();
  apns.now = () => clock.now();
  const push = { ...apns.config(), endpoints_per_user_max: PHONES, connect_timeout: "1m", request_timeout: "5m", lease: "10m" };
  const server = await Server.start({ clock, push });
  for (let n = 0; n < 5; n += 1) await clock.measure(server.admin, `clock-${n}`);
  const tokens = Array.from({ length: PHONES }, deviceToken);
  await Promise.all(tokens.map((token) => server.kim.register({ kind: "apns", token })));
  const room = await Room.make(server, { now: () => clock.now() });
  await storm({ apns, server, clock, room, tokens });
  await badKey({ apns, server, room });
  await longestPause({ apns, server });
  await check("APNs: nothing was wrong with any request of the storm", () => assert.deepEqual(apns.violations, []));
  room.leave();
  server.stop();
  apns.close();
}

async function settled(server, count) {
  return until(`${count} messages are done`, async () => {
    const { items } = await server.kim.get("/push/messages");
    return items.length === count && items.every(({ state }) => state === "done") && items[0];
  }, { within_ms: STORM_MS });
}

function waitOf({ headers, status }) {
  if (headers) return Number(headers["retry-after"]) * 1000;
  return status === 429 ? OWN_WAIT_MS : 0;
}

async function storm({ apns, server, clock, room, tokens }) {
  const steps = Array.from({ length: EACH }, (_, k) => k);
  const order = (n) => steps.map((k) => REFUSALS[(n + k * (n < PHONES / 2 ? 1 : REFUSALS.length - 1)) % REFUSALS.length]);
  const left = new Map(tokens.map((token, n) => [token, order(n)]));
  apns.answer = (request) => {
    request.answer = left.get(request.token).pop() ?? { status: 200 };
    request.answered = clock.now();
    return request.answer;
  };
  await room.warm();
  const { deliveries } = await settled(server, 1);
  await check(`APNs: ${PHONES} messages get through a storm of 429, 500, 503 and resets, and no endpoint is removed`, async () => {
    assert.ok([...left.values()].every((list) => list.length === 0), "all refusals were given");
    // What was refused unread comes again within the same attempt: at most one of each phone's refusals is of that kind.
    assert.deepEqual(deliveries.filter(({ state, attempts }) => state !== "delivered" || attempts < EACH), []);
    assert.equal(apns.requests.length, PHONES * (EACH + 1), "each refusal is followed by one more request");
    assert.ok((await server.kim.get("/push/endpoints")).items.every(({ state }) => state === "active"));
    assert.ok([...apns.takenById().values()].every((count) => count === 1));
  });
  await check("APNs: nothing is tried again before the time that the answer asks for", () => {
    let waits = 0;
    for (const token of tokens) {
      const tries = apns.of(token);
      assert.equal(new Set(tries.map(({ id }) => id)).size, 1, "a repeat has the same id");
      for (const [n, request] of tries.slice(1).entries()) {
        const before = tries[n];
        const waited_ms = request.at - before.answered;
        assert.ok(waited_ms >= waitOf(before.answer), `${waited_ms} ms after ${JSON.stringify(before.answer)}`);
        waits += Number(waitOf(before.answer) > 0);
      }
    }
    assert.ok(waits >= PHONES, `${waits}`);
    const span_s = (apns.requests.at(-1).at - apns.requests[0].at) / 1000;
    console.log(`    ${apns.requests.length} requests in ${span_s.toFixed(0)} s of the server's`);
  });
}

/// A key that was revoked, and is set right.
async function badKey({ apns, server, room }) {
  const from = apns.requests.length;
  apns.answer = () => ({ status: 403, reason: "InvalidProviderToken" });
  await room.cold();
  await until("all were refused", () => apns.requests.length >= from + PHONES);
  const refused = apns.requests.slice(from);
  apns.answer = () => ({ status: 200 });
  await settled(server, 2);
  await check("APNs: InvalidProviderToken costs no message and no endpoint, and is not asked about within a minute", async () => {
    const [{ deliveries }] = (await server.kim.get("/push/messages")).items;
    assert.deepEqual(deliveries.filter(({ state }) => state !== "delivered"), []);
    assert.ok((await server.kim.get("/push/endpoints")).items.every(({ state }) => state === "active"));
    for (const request of refused.slice(0, PHONES)) {
      const [again, ...more] = apns.requests.slice(from).filter(({ id }) => id === request.id).slice(1);
      assert.ok(again.at - request.at >= OWN_WAIT_MS, `${again.at - request.at} ms`);
      assert.equal(more.length, 0);
    }
    const said = server.words().match(/ERROR.*a push provider refuses this server/g) ?? [];
    assert.equal(said.length, 1, "said once");
  });
}

/// Two messages on their way at once are told to leave the provider alone, the second for longer.
async function longestPause({ apns, server }) {
  const open = [];
  apns.answer = (request) => new Promise((resolve) => open.push({ request, resolve }));
  const endpoints = (await server.kim.get("/push/endpoints")).items.slice(0, 3).map(({ id }) => id);
  const down = (seconds) => ({ status: 503, reason: "ServiceUnavailable", headers: { "retry-after": `${seconds}` } });
  for (const endpoint of endpoints.slice(0, 2)) await server.kim.test(endpoint);
  await until("two are on their way", () => open.length === 2);
  apns.answer = () => ({ status: 200 });
  const asked = apns.now();
  const from = apns.requests.length;
  open[0].resolve(down(5));
  open[1].resolve(down(60));
  const third = await server.kim.test(endpoints[2]);
  await server.kim.delivery(third);
  await check("APNs: of two 503 that come together the longer Retry-After counts", () => {
    const waited_ms = apns.requests[from].at - asked;
    assert.ok(waited_ms >= 60_000, `${waited_ms} ms`);
  });
}
