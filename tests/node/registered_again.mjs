// An app registers again while the provider is about to say that its endpoint is gone: the word is about the registration
// before, and the endpoint stays.
import assert from "node:assert/strict";
import { Apns, deviceToken } from "./apns_stand_in.mjs";
import { Fcm, refusal, registrationToken } from "./fcm_stand_in.mjs";
import { check, until } from "./harness.mjs";
import { Server } from "./server.mjs";
import { PushService } from "./webpush_stand_in.mjs";

export async function registeredAgain() {
  const [apns, fcm, service] = await Promise.all([Apns.listen(), Fcm.listen(), PushService.listen()]);
  const server = await Server.start({
    push: { ...apns.config(), ...fcm.config(), allow_private_endpoints: true, vapid_subject: "mailto:check@example.org" },
  });
  const { kim } = server;
  const gone = refusal(404, "NOT_FOUND", { code: "UNREGISTERED" });
  for (const [name, stand, endpoint, word] of [
    ["APNs' Unregistered", apns, { kind: "apns", token: deviceToken() }, () => ({ status: 410, reason: "Unregistered" })],
    ["FCM's UNREGISTERED", fcm, { kind: "fcm", token: registrationToken() }, () => gone],
    ["410 of a Web Push service", service, service.subscribe().endpoint, () => ({ status: 410 })],
  ]) {
    const id = await kim.register(endpoint);
    // A first one that arrives, so that what follows is a change of mind.
    assert.equal((await kim.delivery(await kim.test(id))).state, "delivered");
    const asked = new Promise((resolve) => {
      stand.answer = () => new Promise((say) => resolve(say));
    });
    const message = await kim.test(id);
    const say = await asked;
    const before = Date.now();
    await until("a later time", () => Date.now() > before + 5);
    assert.equal(await kim.register(endpoint), id);
    say(word(before));
    await check(`${name} about the registration before the last removes no endpoint`, async () => {
      await kim.delivery(message);
      assert.equal((await kim.endpoint(id)).state, "active");
      stand.answer = () => ({ status: stand === service ? 201 : 200 });
      assert.equal((await kim.delivery(await kim.test(id))).state, "delivered");
    });
  }
  server.stop();
  for (const stand of [apns, fcm, service]) stand.close();
}
