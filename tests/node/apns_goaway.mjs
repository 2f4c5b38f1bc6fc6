// Connections that end while hundreds of messages are on their way: what Apple had taken is not sent again, what it had not
// comes again under the same id, and every phone gets its message once. PULSEWIRE_LONG=1 adds rounds by chance.
import { constants } from "node:http2";
import assert from "node:assert/strict";
import { Apns, deviceToken } from "./apns_stand_in.mjs";
import { check, until } from "./harness.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";

const PHONES = 500;
const LONG_ROUNDS = process.env.PULSEWIRE_LONG === "1" ? 30 : 0;

export async function apnsGoaway() {
  const apns = await Apns.listen();
  const server = await Server.start({
    push: { ...apns.config(), workers: 1000, per_origin_max: 1000, endpoints_per_user_max: PHONES, request_timeout: "50s" },
  });
  const tokens = Array.from({ length: PHONES }, deviceToken);
  await Promise.all(tokens.map((token) => server.kim.register({ kind: "apns", token })));
  const test = { apns, server, room: await Room.make(server), messages: 0, collapse: new Map() };
  await half(test);
  await graceful(test);
  await torn(test);
  await oneStream();
  await byChance(test);
  await check("APNs: the end of an alert has its alarm's apns-collapse-id, and an apns-id of its own", () => {
    for (const token of tokens) {
      const [first, ...others] = [...new Map(apns.of(token).map((request) => [request.id, request])).values()];
      assert.equal(others.length, test.messages - 1);
      assert.equal(others[0].headers["apns-collapse-id"], first.headers["apns-collapse-id"]);
    }
    assert.deepEqual(apns.violations, []);
  });
  test.room.leave();
  server.stop();
  apns.close();
}

/// One message to every phone; answers what is on its way once that is all of it, by connection.
async function flight({ apns, room, ...test }) {
  const open = [];
  apns.answer = (request) => new Promise((resolve) => open.push({ request, resolve }));
  await (test.messages % 2 === 0 ? room.warm() : room.cold());
  await until("all messages are on their way", () => open.length === PHONES);
  const sessions = new Map();
  for (const one of open) sessions.set(one.request.session, [...(sessions.get(one.request.session) ?? []), one]);
  for (const all of sessions.values()) all.sort((a, b) => a.request.stream.id - b.request.stream.id);
  apns.answer = () => ({ status: 200 });
  return { ids: new Set(open.map(({ request }) => request.id)), sessions };
}

/// Waits until a message was delivered everywhere, and judges by what the stand-in saw: `often` says how often an id may have come
/// and been taken.
async function judge(test, ids, often) {
  const { apns, server } = test;
  test.messages += 1;
  const { deliveries } = await until("the message is done", async () => {
    const { items } = await server.kim.get("/push/messages");
    return items.length === test.messages && items[0].state === "done" && items[0];
  });
  assert.deepEqual(deliveries.filter(({ state }) => state !== "delivered"), []);
  const seen = new Map([...ids].map((id) => [id, { came: 0, taken: 0 }]));
  for (const { id, taken } of apns.requests.filter(({ id }) => seen.has(id))) {
    seen.get(id).came += 1;
    seen.get(id).taken += Number(taken);
  }
  for (const [id, { came, taken }] of seen) {
    const [cameMost, takenMost] = often(id);
    assert.ok(taken >= 1 && taken <= takenMost && came <= cameMost, `${id} came ${came} times and was taken ${taken} times`);
  }
  // Nobody got anything under another id.
  assert.equal(new Set(apns.requests.map(({ id }) => id)).size, test.messages * PHONES);
}

/// Of each connection those up to `lastOf(streams)` were taken, the others not.
async function goaway(test, lastOf) {
  const { ids, sessions } = await flight(test);
  const refused = new Set();
  for (const [session, all] of sessions) {
    const count = lastOf(all.length);
    session.goaway(constants.NGHTTP2_NO_ERROR, count === 0 ? 0 : all[count - 1].request.stream.id);
    for (const { resolve } of all.slice(0, count)) resolve({ status: 200 });
    for (const { request } of all.slice(count)) refused.add(request.id);
  }
  await judge(test, ids, (id) => (refused.has(id) ? [2, 1] : [1, 1]));
  return { refused: refused.size, connections: sessions.size };
}

function half(test) {
  return check(`APNs: GOAWAY with ${PHONES} on their way: what was refused comes once more, what was taken does not`, async () => {
    const { refused, connections } = await goaway(test, (count) => Math.ceil(count / 2));
    assert.ok(refused >= PHONES / 3, `${refused} were refused`);
    console.log(`    ${connections} connections, ${refused} refused`);
  });
}

/// As servers do that are stopped in good order: all that is open is answered.
function graceful(test) {
  return check(`APNs: a connection that closes in good order with ${PHONES} on their way costs no repeat`, async () => {
    const { ids, sessions } = await flight(test);
    for (const session of sessions.keys()) session.close();
    for (const all of sessions.values()) for (const { resolve } of all) resolve({ status: 200 });
    await judge(test, ids, () => [1, 1]);
  });
}

/// Nobody knows what was taken: all without an answer comes again, under its own id, by which a phone knows it.
function torn(test) {
  return check(`APNs: a connection that is torn with ${PHONES} on their way costs no message, and no other id`, async () => {
    const { ids, sessions } = await flight(test);
    const answered = new Set();
    for (const [session, all] of sessions) {
      for (const { request, resolve } of all.slice(0, all.length / 4)) {
        resolve({ status: 200 });
        answered.add(request.id);
      }
      await until("they were answered", () => all.slice(0, all.length / 4).every(({ request }) => request.stream.closed));
      session.destroy();
    }
    await judge(test, ids, (id) => (answered.has(id) ? [1, 1] : [2, 2]));
  });
}

/// Apple lets one stream be open until a token was good, and refuses the others before it looks at them.
async function oneStream() {
  const apns = await Apns.listen({ firstStreams: 1 });
  const server = await Server.start({ push: { ...apns.config(), endpoints_per_user_max: PHONES } });
  const count = PHONES / 5;
  await Promise.all(Array.from({ length: count }, () => server.kim.register({ kind: "apns", token: deviceToken() })));
  const room = await Room.make(server);
  await room.warm();
  await check("APNs: a connection that allows one stream until a token was good takes all messages, once each", async () => {
    await until("all were taken", () => apns.takenById().size === count);
    assert.equal(apns.requests.length, count);
    assert.deepEqual(apns.violations, []);
  });
  room.leave();
  server.stop();
  apns.close();
}

async function byChance(test) {
  if (LONG_ROUNDS === 0) return;
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed;
  // Numerical Recipes' generator: the same seed, the same rounds.
  const chance = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  await check(`APNs: ${LONG_ROUNDS} rounds of GOAWAY anywhere (SEED=${seed})`, async () => {
    for (let n = 0; n < LONG_ROUNDS; n += 1) await goaway(test, (count) => Math.floor(chance() * (count + 1)));
  });
}
