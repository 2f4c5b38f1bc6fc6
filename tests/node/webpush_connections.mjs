// Web Push services that do odd things with connections: who closes them early costs no second attempt, who redirects is not
// followed, and who takes a request without an answer gets the same message again, which takes the first one's place.
import assert from "node:assert/strict";
import { certificates } from "./certificates.mjs";
import { check, until } from "./harness.mjs";
import { Server } from "./server.mjs";
import { PushService } from "./webpush_stand_in.mjs";

export async function webpushConnections() {
  const server = await Server.start({
    push: {
      ...{ extra_root_file: certificates().ca_file, allow_private_endpoints: true, vapid_subject: "mailto:check@example.org" },
      request_timeout: "1s",
    },
  });
  const { kim } = server;
  const [service, other] = await Promise.all([PushService.listen(), PushService.listen()]);
  const browser = service.subscribe();
  const id = await kim.register(browser.endpoint);

  await check("Web Push: a service that closes each connection after its answer, without a word, gets each message once", async () => {
    for (let n = 0; n < 4; n += 1) {
      const closed = new Promise((resolve) => {
        service.answer = ({ response }) => {
          const { socket } = response;
          response.once("finish", () => setTimeout(() => (socket.destroy(), resolve()), 20));
          return { status: 201 };
        };
      });
      const { state, attempts } = await kim.delivery(await kim.test(id));
      assert.deepEqual([state, attempts], ["delivered", 1]);
      await closed;
    }
    assert.equal(service.of(browser).length, 4);
  });
  await check("Web Push: a redirect is not followed", async () => {
    const from = service.requests.length;
    service.answer = () => ({ status: 307, headers: { location: `${other.origin}${browser.path}` } });
    const message = await kim.test(id);
    await until("it came twice", () => service.requests.length >= from + 2);
    assert.equal(other.requests.length, 0);
    service.answer = () => ({ status: 201 });
    assert.equal((await kim.delivery(message)).state, "delivered");
    assert.equal((await kim.endpoint(id)).state, "active");
  });
  await check("Web Push: what was taken without an answer comes again in the first one's place", async () => {
    for (const silent of [() => new Promise(() => {}), ({ response }) => (response.socket.destroy(), new Promise(() => {}))]) {
      const from = service.requests.length;
      service.answer = silent;
      const message = await kim.test(id);
      await until("it was taken", () => service.requests.length > from);
      service.answer = () => ({ status: 201 });
      const { state, timeline } = await kim.delivery(message);
      assert.equal(state, "delivered");
      assert.ok(timeline.some(({ event }) => event === "unclear"), JSON.stringify(timeline));
      const topics = service.requests.slice(from).map(({ headers }) => headers.topic);
      assert.ok(topics.length >= 2 && new Set(topics).size === 1, `${topics}`);
    }
  });
  server.stop();
  for (const one of [service, other]) one.close();
}
