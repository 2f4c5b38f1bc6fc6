// npm's web-push-testing, a push service for tests: it opens what it gets and says 201, 400 and 410 by rules of its own. What
// it takes is what was sent, and exactly the expired subscription's endpoint goes.
import { createServer as createPlain } from "node:http";
import { createServer } from "node:https";
import { createRequire } from "node:module";
import { generateKeyPairSync } from "node:crypto";
import assert from "node:assert/strict";
import { certificates } from "./certificates.mjs";
import { atEnd, check } from "./harness.mjs";
import { Server } from "./server.mjs";

const require = createRequire(import.meta.url);
const { PushApiModel } = require("web-push-testing/src/PushApiModel.js");
const TestingServer = require("web-push-testing/src/server.js");

/// Its handlers behind TLS for the server, which pushes over nothing else, and plain for us.
async function listen() {
  const testing = new TestingServer(new PushApiModel(), 0);
  testing.setRequestHandlers();
  const statuses = [];
  const secure = createServer(certificates(), (request, response) => {
    response.once("finish", () => statuses.push({ path: request.url, status: response.statusCode }));
    testing._app(request, response);
  });
  const plain = createPlain(testing._app);
  for (const server of [secure, plain]) await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => [secure, plain].forEach((server) => (server.closeAllConnections(), server.close()));
  atEnd(close);
  const post = async (path, body = {}) => {
    const url = `http://127.0.0.1:${plain.address().port}${path}`;
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    assert.equal(answer.status, 200, path);
    return answer.headers.get("content-type")?.includes("json") ? (await answer.json()).data : undefined;
  };
  return { origin: `https://127.0.0.1:${secure.address().port}`, statuses, post, close };
}

/// A VAPID key that is not the server's.
function otherKey() {
  const { x, y } = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" });
  return Buffer.concat([Buffer.from([4]), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]).toString("base64url");
}

export async function webPushTesting() {
  const service = await listen();
  const server = await Server.start({
    push: { extra_root_file: certificates().ca_file, allow_private_endpoints: true, vapid_subject: "mailto:check@example.org" },
  });
  const { admin } = server;
  const key = (await admin.get("/push/config")).webpush.public_key;
  const subscribe = async (applicationServerKey, label) => {
    const { clientHash, keys } = await service.post("/subscribe", { userVisibleOnly: "true", applicationServerKey });
    const path = `/notify/${clientHash}`;
    return { clientHash, path, id: await admin.register({ kind: "webpush", url: service.origin + path, keys, label }) };
  };
  const told = async ({ id, path }) => {
    const delivery = await admin.delivery(await admin.test(id));
    const statuses = service.statuses.filter((one) => one.path === path).map(({ status }) => status);
    return { state: delivery.state, statuses, endpoint: (await admin.endpoint(id)).state };
  };
  const browsers = [await subscribe(key, "one"), await subscribe(key, "two"), await subscribe(key, "three")];
  const stranger = await subscribe(otherKey(), "of another server");

  await check("web-push-testing takes what is sent (201) and opens it", async () => {
    for (const [n, browser] of browsers.entries()) {
      assert.deepEqual(await told(browser), { state: "delivered", statuses: [201], endpoint: "active" });
      const { messages } = await service.post("/get-notifications", { clientHash: browser.clientHash });
      assert.equal(messages.length, 1);
      assert.ok(JSON.parse(messages[0]).body.includes(["one", "two", "three"][n]), messages[0]);
    }
  });
  await check("web-push-testing refuses another server's subscription (400), which stays", async () => {
    assert.deepEqual(await told(stranger), { state: "dropped", statuses: [400], endpoint: "active" });
  });
  await check("web-push-testing calls one subscription expired (410), and exactly that one goes", async () => {
    await service.post(`/expire-subscription/${browsers[1].clientHash}`);
    assert.deepEqual(await told(browsers[1]), { state: "dropped", statuses: [201, 410], endpoint: "removed" });
    for (const browser of [browsers[0], browsers[2]]) {
      assert.deepEqual(await told(browser), { state: "delivered", statuses: [201, 201], endpoint: "active" });
    }
    const states = (await admin.get("/push/endpoints")).items.map(({ id, state }) => [id, state]);
    assert.deepEqual(states.filter(([, state]) => state !== "active"), [[browsers[1].id, "removed"]]);
  });
  server.stop();
  service.close();
}
