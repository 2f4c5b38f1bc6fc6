// Apple ends a connection with GOAWAY while hundreds of messages are on their way: what it had taken is not sent again, what
// it had not comes again under the same id, and every phone gets its message once.
import assert from "node:assert/strict";
import { Apns, deviceToken } from "./apns_stand_in.mjs";
import { check, until } from "./harness.mjs";
import { Room } from "./room.mjs";
import { Server } from "./server.mjs";

const PHONES = 500;

export async function apnsGoaway() {
  const apns = await Apns.listen();
  const server = await Server.start({
    push: { ...apns.config(), workers: 1000, per_origin_max: 1000, endpoints_per_user_max: PHONES, request_timeout: "50s" },
  });
  const tokens = Array.from({ length: PHONES }, deviceToken);
  await Promise.all(tokens.map((token) => server.admin.register({ kind: "apns", token })));
  const room = await Room.make(server);
  const open = [];
  apns.answer = (request) => new Promise((resolve) => open.push({ request, resolve }));
  await room.warm();
  await until("all messages are on their way", () => open.length === PHONES);

  // Of each connection the first half was taken.
  const sessions = bySession(open);
  apns.answer = () => ({ status: 200 });
  const refused = new Set();
  for (const [session, all] of sessions) {
    all.sort((a, b) => a.request.stream.id - b.request.stream.id);
    const taken = all.slice(0, Math.ceil(all.length / 2));
    const lastId = taken.at(-1).request.stream.id;
    for (const { request } of all.slice(taken.length)) refused.add(request.id);
    session.goaway(0, lastId);
    for (const { resolve } of taken) resolve({ status: 200 });
  }
  await check(`APNs: a connection ends by GOAWAY with ${PHONES} on their way, and each phone gets its message`, async () => {
    assert.ok(refused.size >= PHONES / 3, `${refused.size} of ${PHONES} were refused, over ${sessions.size} connections`);
    await until("all were taken", () => apns.takenById().size === PHONES, { within_ms: 60_000 });
    const reached = new Set(apns.requests.filter(({ taken }) => taken).map(({ token }) => token));
    assert.equal(reached.size, PHONES);
  });
  await check("APNs: after GOAWAY none was shown twice, and what was refused came under its own id", async () => {
    const { deliveries } = await until("the message is done", async () => {
      const { items } = await server.admin.get("/push/messages");
      return items.length === 1 && items[0].state === "done" && items[0];
    });
    assert.deepEqual(deliveries.filter(({ state }) => state !== "delivered"), []);
    assert.deepEqual([...apns.takenById().values()].filter((count) => count !== 1), []);
    for (const token of tokens) {
      const of = apns.of(token);
      assert.equal(new Set(of.map(({ id }) => id)).size, 1, "a repeat has the same id");
      assert.equal(of.length, refused.has(of[0].id) ? 2 : 1, "sent once, or once more if it was refused");
    }
    assert.deepEqual(apns.violations, []);
    console.log(`    ${sessions.size} connections at first, ${refused.size} refused, ${apns.requests.length} requests`);
  });
  room.leave();
  server.stop();
  apns.close();
}

function bySession(open) {
  const found = new Map();
  for (const one of open) found.set(one.request.session, [...(found.get(one.request.session) ?? []), one]);
  return found;
}
