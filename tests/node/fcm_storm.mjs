// FCM under load: Retry-After in seconds and as a date, quotas, failures, and access tokens that end. The server lives 12 times
// as fast, timers included.
import assert from "node:assert/strict";
import { AcceleratedClock } from "./accelerated_clock.mjs";
import { Fcm, refusal, registrationToken } from "./fcm_stand_in.mjs";
import { STORM_MS, check, notRun, until } from "./harness.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";

const RATE = 12;
const PHONES = 30;
const LIFETIME_S = 80;
/// Where QUOTA_EXCEEDED says nothing, the server waits for a minute.
const OWN_WAIT_MS = 60_000;

export async function fcmStorm() {
  const clock = new AcceleratedClock(RATE);
  if (!clock.available) return notRun("FCM: storms of 429 and 503", "faketime is not installed");
  const stand = await Fcm.listen();
  stand.now = () => clock.now();
  stand.lifetime_s = LIFETIME_S;
  const push = { ...stand.config(), endpoints_per_user_max: PHONES, connect_timeout: "1m", request_timeout: "5m", lease: "10m" };
  const server = await Server.start({ clock, push });
  const { admin, kim } = server;
  for (let n = 0; n < 5; n += 1) await clock.measure(admin, `clock-${n}`);
  const tokens = Array.from({ length: PHONES }, registrationToken);
  await Promise.all(tokens.map((token) => kim.register({ kind: "fcm", token })));
  const room = await Room.make(server, { now: () => clock.now() });

  const quota = (headers) => refusal(429, "RESOURCE_EXHAUSTED", { code: "QUOTA_EXCEEDED", headers });
  // A date has whole seconds.
  const date = (seconds) => new Date(clock.now() + seconds * 1000).toUTCString();
  const refusals = [
    () => quota(),
    () => quota({ "retry-after": "25" }),
    () => quota({ "retry-after": date(35) }),
    () => refusal(503, "UNAVAILABLE", { code: "UNAVAILABLE", headers: { "retry-after": "4" } }),
    () => refusal(503, "UNAVAILABLE", { code: "UNAVAILABLE", headers: { "retry-after": date(5) } }),
    () => refusal(500, "INTERNAL", { code: "INTERNAL" }),
  ];
  const left = new Map(tokens.map((token, n) => [token, refusals.map((_, k) => refusals[(n + k) % refusals.length])]));
  stand.answer = ({ token }) => left.get(token).pop()?.() ?? { status: 200 };
  await room.warm();
  const { deliveries } = await until("the message is done", async () => {
    const { items } = await kim.get("/push/messages");
    return items.length === 1 && items[0].state === "done" && items[0];
  }, { within_ms: STORM_MS });

  await check(`FCM: ${PHONES} messages get through a storm of 429, 500 and 503, and no endpoint is removed`, async () => {
    assert.ok([...left.values()].every((list) => list.length === 0), "all refusals were given");
    assert.deepEqual(deliveries.filter(({ state }) => state !== "delivered"), []);
    assert.ok((await kim.get("/push/endpoints")).items.every(({ state }) => state === "active"));
    for (const token of tokens) {
      assert.equal(stand.of(token).filter(({ taken }) => taken).length, 1, "none came twice");
      assert.equal(new Set(stand.of(token).map(({ delivery }) => delivery)).size, 1, "a repeat has the same id");
    }
  });
  await check("FCM: Retry-After is waited, in seconds and as a date, and a minute where a quota says nothing", () => {
    const seen = { seconds: 0, date: 0, own: 0 };
    for (const token of tokens) {
      const tries = stand.of(token).filter(({ refused }) => !refused);
      for (const [n, { at }] of tries.slice(1).entries()) {
        const { answered, answer } = tries[n];
        const asked = answer.headers?.["retry-after"];
        if (asked === undefined) {
          if (answer.status !== 429) continue;
          assert.ok(at - answered >= OWN_WAIT_MS, `${at - answered} ms`);
          seen.own += 1;
        } else if (/^[0-9]+$/.test(asked)) {
          assert.ok(at - answered >= Number(asked) * 1000, `${at - answered} ms of ${asked} s`);
          seen.seconds += 1;
        } else {
          assert.ok(at + clock.uncertainty_ms >= Date.parse(asked), `${at - Date.parse(asked)} ms after ${asked}`);
          seen.date += 1;
        }
      }
    }
    assert.deepEqual(seen, { seconds: 2 * PHONES, date: 2 * PHONES, own: PHONES });
  });
  await check("FCM: access tokens are renewed before they end, one at a time", () => {
    // The sender's own time, in whole seconds.
    const asked = stand.tokenRequests.map(({ iat }) => iat);
    assert.ok(asked.length >= 3, `${asked.length} tokens`);
    assert.ok(asked.slice(1).every((at, n) => at - asked[n] >= LIFETIME_S / 2 - 1), "each is used for half its life");
    assert.ok(stand.requests.every(({ refused }) => !refused), "none was used after its end");
    assert.deepEqual(stand.violations, []);
    const span_s = (stand.requests.at(-1).at - stand.requests[0].at) / 1000;
    console.log(`    ${stand.requests.length} requests, ${asked.length} tokens in ${span_s.toFixed(0)} s of the server's`);
  });
  room.leave();
  server.stop();
  stand.close();
}
