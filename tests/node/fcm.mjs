// FCM: the access token is fetched once for all and renewed once when it is refused; only a word about the registration token
// removes an endpoint; requests are what the public discovery document says.
import assert from "node:assert/strict";
import { violations } from "./fcm_contract.mjs";
import { Fcm, refusal, registrationToken } from "./fcm_stand_in.mjs";
import { check, pause, until } from "./harness.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";

const PHONES = 40;
/// What the token door takes to answer, so that all who need a token come meanwhile.
const TOKEN_MS = 300;

export async function fcm() {
  const stand = await Fcm.listen();
  const server = await Server.start({
    push: { ...stand.config(), workers: 200, per_origin_max: 200, endpoints_per_user_max: 100 },
  });
  const { kim } = server;
  const endpoints = await Promise.all(
    Array.from({ length: PHONES }, () => kim.register({ kind: "fcm", token: registrationToken() })),
  );
  const room = await Room.make(server);
  stand.beforeToken = () => pause(TOKEN_MS);
  await oneToken({ stand, kim, room });
  await renewedOnce({ stand, kim, room });
  await words({ stand, server, endpoints });
  await waits({ stand, server });
  await check("FCM: requests are as the discovery document says, and the check of it finds what is not", () => {
    assert.deepEqual(stand.violations, []);
    const body = (change) => {
      const message = structuredClone(stand.requests[0].message);
      change(message);
      return violations(JSON.stringify({ message }));
    };
    assert.deepEqual(body(() => {}), []);
    for (const change of WRONG) assert.equal(body(change).length, 1, `${change}`);
  });
  room.leave();
  server.stop();
  stand.close();
}

/// Each is one mistake.
const WRONG = [
  (message) => (message.data.count = 7),
  (message) => (message.data.from = "me"),
  (message) => (message.android.colour = "red"),
  (message) => (message.android.priority = "LOUD"),
  (message) => (message.android.ttl = "1 hour"),
  (message) => (message.android.ttl = "9999999s"),
  (message) => (message.notification.title = ["a"]),
  (message) => (message.topic = "all"),
  (message) => delete message.token,
  (message) => (message.data.long = "x".repeat(4096)),
];

/// The newest message, once so many are done.
function done(kim, count) {
  return until(`${count} messages are done`, async () => {
    const { items } = await kim.get("/push/messages");
    return items.length === count && items.every(({ state }) => state === "done") && items[0];
  });
}

async function oneToken({ stand, kim, room }) {
  await room.warm();
  const { deliveries } = await done(kim, 1);
  await check(`FCM: ${PHONES} messages at once share one request for an access token`, () => {
    assert.equal(stand.tokenRequests.length, 1);
    assert.equal(stand.requests.length, PHONES);
    assert.ok(deliveries.every(({ state, attempts }) => state === "delivered" && attempts === 1));
  });
}

/// All tokens that were given are void, for instance since a key was changed.
async function renewedOnce({ stand, kim, room }) {
  const from = stand.requests.length;
  stand.granted.clear();
  await room.cold();
  const { deliveries } = await done(kim, 2);
  await check("FCM: an access token that is refused is renewed once, and every message goes out", () => {
    const tries = stand.requests.slice(from);
    assert.equal(stand.tokenRequests.length, 2);
    assert.equal(new Set(tries.map(({ bearer }) => bearer)).size, 2);
    assert.ok(tries.some(({ refused }) => refused));
    assert.ok(deliveries.every(({ state }) => state === "delivered"));
    const taken = tries.filter(({ taken }) => taken);
    assert.equal(new Set(taken.map(({ delivery }) => delivery)).size, PHONES);
    assert.equal(taken.length, PHONES, "none came twice");
  });
}

/// FCM's errors about one message.
async function words({ stand, server, endpoints }) {
  const { kim } = server;
  const told = async (endpoint, answer) => {
    stand.answer = () => answer;
    const message = await kim.test(endpoint);
    const delivery = await kim.delivery(message, ["delivered", "dead", "dropped"]);
    stand.answer = () => ({ status: 200 });
    return { delivery: delivery.state, ...(await kim.endpoint(endpoint)) };
  };
  await check("FCM: UNREGISTERED removes the endpoint, and no other", async () => {
    const gone = await told(endpoints[0], refusal(404, "NOT_FOUND", { code: "UNREGISTERED" }));
    assert.deepEqual([gone.delivery, gone.state], ["dropped", "removed"]);
    assert.match(gone.removed_reason, /UNREGISTERED/);
    const others = (await kim.get("/push/endpoints")).items.filter(({ state }) => state === "active");
    assert.equal(others.length, PHONES - 1);
  });
  await check("FCM: INVALID_ARGUMENT about the message removes no endpoint", async () => {
    for (const answer of [
      refusal(400, "INVALID_ARGUMENT", { fields: ["message.android.ttl"] }),
      refusal(400, "INVALID_ARGUMENT", { code: "INVALID_ARGUMENT", fields: ["message.android.ttl"] }),
      // Without FcmError it is not FCM that speaks of a registration.
      refusal(400, "INVALID_ARGUMENT", { fields: ["message.token"] }),
      refusal(400, "INVALID_ARGUMENT", { code: "INVALID_ARGUMENT" }),
    ]) {
      const kept = await told(endpoints[1], answer);
      assert.deepEqual([kept.delivery, kept.state], ["dropped", "active"], JSON.stringify(answer.body));
    }
    assert.equal((await told(endpoints[1], { status: 200 })).delivery, "delivered");
  });
  await check("FCM: INVALID_ARGUMENT about the registration token removes the endpoint", async () => {
    const answer = refusal(400, "INVALID_ARGUMENT", {
      ...{ code: "INVALID_ARGUMENT", fields: ["message.token"] },
      message: "The registration token is not a valid FCM registration token",
    });
    assert.equal((await told(endpoints[2], answer)).state, "removed");
  });
  await check("FCM: SENDER_ID_MISMATCH and THIRD_PARTY_AUTH_ERROR cost no endpoint and no message", async () => {
    for (const [n, answer] of [
      refusal(403, "PERMISSION_DENIED", { code: "SENDER_ID_MISMATCH" }),
      refusal(401, "UNAUTHENTICATED", { code: "THIRD_PARTY_AUTH_ERROR" }),
    ].entries()) {
      const from = stand.requests.length;
      stand.answer = () => answer;
      const message = await kim.test(endpoints[3 + n]);
      await until("it was refused", () => stand.requests.length > from);
      const delivery = await kim.delivery(message, ["queued"], ({ attempts }) => attempts === 1);
      assert.ok(planned(delivery) >= 60, `${planned(delivery)} s`);
      assert.equal((await kim.endpoint(endpoints[3 + n])).state, "active");
    }
    assert.match(server.words(), /ERROR.*a push provider refuses this server/);
    assert.equal(stand.tokenRequests.length, 2, "another access token would not help");
  });
}

/// How long a message is to wait after its last answer, by the server's own plan, in s.
function planned({ timeline, next_attempt }) {
  return (Date.parse(next_attempt) - Date.parse(timeline.at(-1).time)) / 1000;
}

async function waits({ stand, server }) {
  const lee = await server.user("lee");
  const quota = (headers) => refusal(429, "RESOURCE_EXHAUSTED", { code: "QUOTA_EXCEEDED", headers });
  await check("FCM: QUOTA_EXCEEDED is waited out as FCM says, in seconds or as a date, and else for a minute", async () => {
    for (const [seconds, headers] of [
      [25, () => ({ "retry-after": "25" })],
      [35, () => ({ "retry-after": new Date(Date.now() + 35_000).toUTCString() })],
      [60, () => undefined],
    ]) {
      stand.answer = () => quota(headers());
      const message = await lee.test(await lee.register({ kind: "fcm", token: registrationToken() }));
      const wait_s = planned(await lee.delivery(message, ["queued"], ({ attempts }) => attempts === 1));
      // A date has whole seconds, and up to a second is the first spread of repeats.
      assert.ok(wait_s > seconds - 1.1 && wait_s <= seconds + 1.1, `${wait_s} s, ${seconds} s are wanted`);
    }
  });
}
