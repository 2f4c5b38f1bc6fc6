// The provider token over hours: Apple wants it renewed "no more than once every 20 minutes and no less than once every 60".
// The server's clock runs 600 times as fast, so that more than three hours pass while alarms go to many phones at once; a day
// with PULSEWIRE_LONG=1.
import assert from "node:assert/strict";
import { AcceleratedClock } from "./accelerated_clock.mjs";
import { Apns, deviceToken } from "./apns_stand_in.mjs";
import { check, notRun, pause, until } from "./harness.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";

const RATE = 600;
const MINUTE_MS = 60_000;
const HOURS = process.env.PULSEWIRE_LONG === "1" ? 26 : 3.2;
const PHONES = 12;
/// Between two changes of the room, in real time: 1.5 minutes of the server's.
const CHANGE_MS = 150;
/// What the stand-in takes to answer, so that requests overlap.
const ANSWER_MS = 40;
/// What a request takes until it is here may be so long, in real time.
const LATE_MS = 900;

export async function apnsTokens() {
  const clock = new AcceleratedClock(RATE, { wallOnly: true });
  if (!clock.available) return notRun("APNs: the provider token over three hours", "faketime is not installed");
  const apns = await Apns.listen();
  apns.now = () => clock.now();
  apns.answer = () => pause(ANSWER_MS).then(() => ({ status: 200 }));
  // A lease is of the clock that runs fast: 10 minutes are one second.
  const push = { ...apns.config(), workers: 64, per_origin_max: 64, lease: "10m", ttl_critical: "672h" };
  const server = await Server.start({ clock, push });
  for (let n = 0; n < 5; n += 1) await clock.measure(server.admin, `clock-${n}`);
  const tokens = Array.from({ length: PHONES }, deviceToken);
  for (const token of tokens) await server.kim.register({ kind: "apns", token });
  const room = await Room.make(server, { now: () => clock.now() });
  const flow = async (until_ms) => {
    while (clock.now() < until_ms) {
      await room.warm();
      await pause(CHANGE_MS);
      await room.cold();
      await pause(CHANGE_MS);
    }
  };
  const span_h = () => (apns.requests.length > 0 ? (apns.requests.at(-1).at - apns.requests[0].at) / (60 * MINUTE_MS) : 0);
  while (span_h() < HOURS) await flow(clock.now() + 5 * MINUTE_MS);
  await clock.measure(server.admin, "clock-last");
  assert.ok(clock.uncertainty_ms < MINUTE_MS, `the time is known to ${clock.uncertainty_ms} ms`);
  const slack_ms = LATE_MS * RATE + clock.uncertainty_ms;

  const first = new Map();
  for (const request of apns.requests) if (!first.has(request.bearer)) first.set(request.bearer, request);
  const made = [...first.values()].map(({ iat, at }) => ({ iat, at }));
  await check(`APNs: over ${HOURS} hours there are tokens, and few`, () => {
    assert.ok(apns.requests.length > PHONES * 10, `${apns.requests.length} requests`);
    assert.ok(apns.openMost >= PHONES, `${apns.openMost} were on their way at once`);
    assert.ok(made.length >= HOURS - 1 && made.length <= HOURS * 3, `${made.length} tokens`);
    console.log(`    ${span_h().toFixed(1)} h, ${apns.requests.length} requests, ${made.length} tokens`);
  });
  const late_ms = Math.max(...made.map(({ iat, at }) => at - iat * 1000)) / RATE;
  console.log(`    a new token was here ${late_ms.toFixed(0)} ms of real time after it was made, at most`);
  await check("APNs: no two tokens are made within 20 minutes", () => {
    const gaps = made.slice(1).map(({ iat }, n) => iat - made[n].iat);
    assert.ok(gaps.every((gap_s) => gap_s >= 20 * 60), `${gaps}`);
  });
  await check("APNs: a token says when it was made, and is not used for more than 60 minutes", () => {
    for (const { iat, at } of made) assert.ok(Math.abs(iat * 1000 - at) <= slack_ms, `made at ${iat}, first used at ${at / 1000}`);
    const oldest_ms = Math.max(...apns.requests.map(({ iat, at }) => at - iat * 1000));
    assert.ok(oldest_ms <= 60 * MINUTE_MS, `${oldest_ms / MINUTE_MS} min`);
    assert.deepEqual(apns.violations, []);
  });
  await refusedForItsAge({ apns, clock, flow, made });
  room.leave();
  server.stop();
  apns.close();
}

/// Apple calls the token too old, for instance since its clock is another.
async function refusedForItsAge({ apns, clock, flow, made }) {
  const last = made.at(-1);
  // A young token, so that what is wanted is not what happens anyway.
  if (clock.now() - last.iat * 1000 > 15 * MINUTE_MS) {
    const next = apns.requests.at(-1).bearer;
    await flow(last.iat * 1000 + 51 * MINUTE_MS);
    await until("a young token", async () => (await flow(clock.now() + MINUTE_MS), apns.requests.at(-1).bearer !== next));
  }
  const refused = apns.requests.at(-1);
  const from = apns.requests.length;
  apns.answer = ({ bearer }) => (bearer === refused.bearer ? { status: 403, reason: "ExpiredProviderToken" } : { status: 200 });
  const renewed = await until("another token", async () => {
    await flow(clock.now() + MINUTE_MS);
    return apns.requests.slice(from).find(({ bearer, taken }) => taken && bearer !== refused.bearer);
  });
  await check("APNs: ExpiredProviderToken is followed by a new token, but not within 20 minutes", () => {
    const gap_min = (renewed.iat - refused.iat) / 60;
    assert.ok(gap_min >= 20 && gap_min < 45, `${gap_min} min`);
    const seen = new Set(apns.requests.slice(from).map(({ bearer }) => bearer));
    assert.ok(seen.has(refused.bearer) && seen.has(renewed.bearer) && seen.size <= 3, `${seen.size} tokens`);
  });
  await check("APNs: what was refused for its token's age goes out under the same id", () =>
    until("the newest refused ones", () => {
      const taken = apns.takenById();
      const ids = new Set(apns.requests.filter(({ status }) => status === 403).map(({ id }) => id));
      assert.ok(ids.size > 0);
      return [...ids].some((id) => taken.get(id) === 1);
    }),
  );
}
