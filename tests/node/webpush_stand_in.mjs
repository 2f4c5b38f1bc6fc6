// Stands in for a Web Push service and its browsers: keeps what is sent to each subscription, with its headers.
import { createECDH, randomBytes } from "node:crypto";
import { createServer } from "node:https";
import { certificates } from "./certificates.mjs";
import { atEnd } from "./harness.mjs";

export class PushService {
  /// Each request: `path`, `headers`, `body`, and the `response` that it gets.
  requests = [];
  /// What to answer.
  answer = () => ({ status: 201 });

  static async listen() {
    const service = new PushService();
    service.server = createServer(certificates(), async (request, response) => {
      request.on("error", () => {});
      const parts = [];
      for await (const part of request) parts.push(part);
      const one = { path: request.url, headers: request.headers, body: Buffer.concat(parts), response };
      service.requests.push(one);
      const { status, headers } = await service.answer(one);
      response.writeHead(status, headers);
      response.end();
    });
    await new Promise((resolve) => service.server.listen(0, "127.0.0.1", resolve));
    service.origin = `https://127.0.0.1:${service.server.address().port}`;
    atEnd(() => service.close());
    return service;
  }

  /// A browser's subscription, with the key that only the browser has.
  subscribe() {
    const curve = createECDH("prime256v1");
    curve.generateKeys();
    const path = `/push/${randomBytes(16).toString("base64url")}`;
    const keys = { p256dh: curve.getPublicKey("base64url"), auth: randomBytes(16).toString("base64url") };
    return { path, curve, keys, endpoint: { kind: "webpush", url: this.origin + path, keys } };
  }

  of({ path }) {
    return this.requests.filter((request) => request.path === path);
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
