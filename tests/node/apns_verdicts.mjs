// Which of Apple's answers remove an endpoint: only a word about the endpoint, later than its registration, and never when
// very many endpoints are called wrong at once, as they are for a key or an app of another environment.
import assert from "node:assert/strict";
import { violations } from "./apns_contract.mjs";
import { Apns, deviceToken } from "./apns_stand_in.mjs";
import { check, until } from "./harness.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";

const HOUR_MS = 3_600_000;
const PHONES = 30;
/// The server's rule, from docs/push.md: so many, and more than one of so many.
const DEAD_MIN = 3;
const SHARE = 5;
/// Each is one mistake.
const WRONG_HEADERS = {
  ":path": "/3/device/xyz",
  "apns-id": "7",
  "apns-topic": "org.example.other",
  "apns-push-type": undefined,
  "apns-priority": "7",
  "apns-expiration": "1",
  "apns-collapse-id": "x".repeat(65),
  "apns-colour": "red",
  authorization: "Bearer x",
};
const WRONG_PAYLOADS = [
  "{",
  "{}",
  '{"aps":{"alert":{}}}',
  '{"aps":{"alert":{"title":"a","colour":"red"}}}',
  '{"aps":{"alert":"a","badge":"1"}}',
  '{"aps":{"alert":"a","interruption-level":"loud"}}',
  `{"aps":{"alert":"${"a".repeat(4096)}"}}`,
];

export async function apnsVerdicts() {
  const apns = await Apns.listen();
  const server = await Server.start({ push: { ...apns.config(), endpoints_per_user_max: 100 } });
  await gone(apns, server);
  await tooManyTokens(apns, server);
  server.stop();
  await nothingDelivered(apns);
  await burst(apns);
  await check("APNs: nothing was wrong with any of these requests, and the check of it finds what is", () => {
    assert.deepEqual(apns.violations, []);
    const { headers, body, at } = apns.requests[0];
    const found = (change, other = body) => violations({ ...headers, ...change }, other, { topic: headers["apns-topic"], now_ms: at });
    assert.deepEqual(found({}), []);
    for (const [name, value] of Object.entries(WRONG_HEADERS)) assert.equal(found({ [name]: value }).length, 1, name);
    for (const wrong of WRONG_PAYLOADS) assert.equal(found({}, Buffer.from(wrong)).length, 1, wrong.slice(0, 80));
  });
  apns.close();
}

/// 410 with its time, before and after the registration.
async function gone(apns, server) {
  // Answers of other kinds, so that one endpoint that is gone is no pattern.
  const others = [server.kim, await server.user("ann")];
  for (const user of others) {
    for (let n = 0; n < 8; n += 1) {
      const { state } = await user.delivery(await user.test(await user.register({ kind: "apns", token: deviceToken() })));
      assert.equal(state, "delivered");
    }
  }
  const lee = await server.user("lee");
  const token = deviceToken();
  const endpoint = await lee.register({ kind: "apns", token });
  const since = async (timestamp) => {
    apns.answer = () => ({ status: 410, reason: "Unregistered", timestamp });
    const delivery = await lee.delivery(await lee.test(endpoint));
    apns.answer = () => ({ status: 200 });
    return { delivery, endpoint: await lee.endpoint(endpoint) };
  };
  await check("APNs: 410 of a time before the registration removes nothing", async () => {
    const kept = await since(Date.now() - HOUR_MS);
    assert.deepEqual([kept.delivery.state, kept.endpoint.state], ["dropped", "active"]);
    assert.equal((await lee.delivery(await lee.test(endpoint))).state, "delivered");
  });
  await check("APNs: 410 of a time before the endpoint was registered again removes nothing", async () => {
    const timestamp = Date.now();
    await until("a later time", () => Date.now() > timestamp + 5);
    assert.equal(await lee.register({ kind: "apns", token }), endpoint);
    assert.equal((await since(timestamp)).endpoint.state, "active");
  });
  await check("APNs: 410 of a later time removes the endpoint, and says why", async () => {
    const removed = await since(Date.now() + 1000);
    assert.deepEqual([removed.delivery.state, removed.endpoint.state], ["dropped", "removed"]);
    assert.match(removed.endpoint.removed_reason, /Unregistered/);
    for (const user of others) {
      const { items } = await user.get("/push/endpoints");
      assert.ok(items.length === 8 && items.every(({ state }) => state === "active"), "no other endpoint");
    }
  });
  await check("APNs: an endpoint that was removed can be registered again", async () => {
    const again = await lee.register({ kind: "apns", token });
    assert.equal((await lee.delivery(await lee.test(again))).state, "delivered");
  });
}

/// What a server gets that was started anew a moment after it had made a token.
async function tooManyTokens(apns, server) {
  const sam = await server.user("sam");
  const endpoint = await sam.register({ kind: "apns", token: deviceToken() });
  let refusals = 2;
  apns.answer = () => (refusals-- > 0 ? { status: 429, reason: "TooManyProviderTokenUpdates" } : { status: 200 });
  const from = apns.requests.length;
  await check("APNs: TooManyProviderTokenUpdates is waited out with the token that there is", async () => {
    const delivery = await sam.delivery(await sam.test(endpoint));
    assert.deepEqual([delivery.state, delivery.attempts], ["delivered", 3]);
    const tries = apns.requests.slice(from);
    assert.equal(new Set(tries.map(({ bearer }) => bearer)).size, 1, "no new token was made");
    assert.equal(new Set(tries.map(({ id }) => id)).size, 1, "a repeat has the same id");
    assert.equal((await sam.endpoint(endpoint)).state, "active");
  });
}

/// BadDeviceToken where nothing was ever delivered.
async function nothingDelivered(apns) {
  const server = await Server.start({ push: apns.config() });
  const { kim } = server;
  apns.answer = () => ({ status: 400, reason: "BadDeviceToken" });
  const endpoints = await Promise.all([1, 2, 3, 4].map(() => kim.register({ kind: "apns", token: deviceToken() })));
  await check("APNs: BadDeviceToken removes nothing while nothing was ever delivered, and the message can be replayed", async () => {
    const messages = await Promise.all(endpoints.map((endpoint) => kim.test(endpoint)));
    for (const message of messages) assert.equal((await kim.delivery(message)).state, "dead");
    assert.ok((await kim.get("/push/endpoints")).items.every(({ state }) => state === "active"));
    apns.answer = () => ({ status: 200 });
    await kim.post(`/push/messages/${messages[0]}/replay`);
    assert.equal((await kim.delivery(messages[0], ["delivered"])).state, "delivered");
  });
  server.stop();
}

/// BadDeviceToken for everyone, where all had worked.
async function burst(apns) {
  const server = await Server.start({ push: { ...apns.config(), endpoints_per_user_max: PHONES } });
  const { kim } = server;
  await Promise.all(Array.from({ length: PHONES }, () => kim.register({ kind: "apns", token: deviceToken() })));
  const room = await Room.make(server);
  const done = (count) =>
    until(`${count} messages are done`, async () => {
      const { items } = await kim.get("/push/messages");
      return items.length === count && items.every(({ state }) => state === "done") && items[0];
    });
  await room.warm();
  await done(1);
  apns.answer = () => ({ status: 400, reason: "BadDeviceToken" });
  await room.cold();
  const refused = await done(2);
  const good = PHONES;
  let believed = 0;
  for (let dead = 1; dead <= PHONES && !(dead >= DEAD_MIN && dead * SHARE > good + dead); dead += 1) believed = dead;
    await check("APNs: a burst of BadDeviceToken removes no more endpoints than the rule allows", async () => {
    const all = (await kim.get("/push/endpoints")).items.map(({ state }) => state);
    assert.ok(believed < PHONES / 2, `${believed} would be believed`);
    assert.equal(all.filter((state) => state === "removed").length, believed);
    assert.equal(refused.deliveries.filter(({ state }) => state === "dead").length, PHONES - believed);
    assert.match(server.words(), /ERROR.*an endpoint is kept that its provider calls gone/);
  });
  await check("APNs: after the burst the endpoints that were kept get the message by a replay", async () => {
    apns.answer = () => ({ status: 200 });
    await kim.post(`/push/messages/${refused.id}/replay`);
    const { deliveries } = await until("the replay is done", async () => {
      const message = await kim.get(`/push/messages/${refused.id}`);
      return message.state === "done" && message;
    });
    assert.equal(deliveries.filter(({ state }) => state === "delivered").length, PHONES - believed);
  });
  room.leave();
  server.stop();
}
