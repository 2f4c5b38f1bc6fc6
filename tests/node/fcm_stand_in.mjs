// Stands in for Firebase Cloud Messaging and its token door, with Node's HTTP/2 and TLS, and jose: nothing of it is shared with
// the server. Keeps every request, with what is wrong with it.
import { generateKeyPairSync } from "node:crypto";
import { createSecureServer } from "node:http2";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as jose from "jose";
import { certificates } from "./certificates.mjs";
import { violations } from "./fcm_contract.mjs";
import { atEnd, folder } from "./harness.mjs";

const PROJECT = "stand-in-1";
const EMAIL = "push@stand-in-1.iam.gserviceaccount.com";
const KEY_ID = "stand-in-key";
const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest";

/// The next of endless registration tokens.
export function registrationToken() {
  registrationToken.last = (registrationToken.last ?? 0) + 1;
  return `stand-in_${registrationToken.last}:APA91b${"x".repeat(120)}`;
}

/// An error as FCM words it. `fields`: what BadRequest names; `code`: FcmError's, where it has one.
export function refusal(status, name, { code, fields = [], message = "refused", headers } = {}) {
  const details = [];
  if (code) details.push({ "@type": FCM_ERROR, errorCode: code });
  if (fields.length > 0) details.push({ "@type": BAD_REQUEST, fieldViolations: fields.map((field) => ({ field, description: message })) });
  return { status, headers, body: { error: { code: status, message, status: name, details } } };
}

export class Fcm {
  /// Messages, and requests for access tokens.
  requests = [];
  tokenRequests = [];
  violations = [];
  /// The sender's time in ms; another for a server whose clock runs fast.
  now = () => Date.now();
  /// What to answer: `{ status, body?, headers? }`; without a body, as FCM does when it takes a message.
  answer = () => ({ status: 200 });
  /// How long access tokens are good, in s, and what happens before one is given.
  lifetime_s = 3599;
  beforeToken = async () => {};
  /// Access tokens that are good, with their ends.
  granted = new Map();

  static async listen() {
    const fcm = new Fcm();
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    fcm.publicKey = publicKey;
    fcm.server = createSecureServer({ ...certificates(), settings: { maxConcurrentStreams: 1000 } });
    fcm.server.on("request", (request, response) => fcm.take(request, response));
    fcm.sessions = new Set();
    fcm.server.on("session", (session) => {
      fcm.sessions.add(session);
      session.once("close", () => fcm.sessions.delete(session));
      session.on("error", () => {});
    });
    await new Promise((resolve) => fcm.server.listen(0, "127.0.0.1", resolve));
    fcm.origin = `https://127.0.0.1:${fcm.server.address().port}`;
    fcm.accountFile = join(mkdtempSync(join(folder, "fcm-")), "service-account.json");
    const private_key = privateKey.export({ type: "pkcs8", format: "pem" });
    writeFileSync(fcm.accountFile, JSON.stringify({
      ...{ type: "service_account", project_id: PROJECT, private_key_id: KEY_ID, private_key, client_email: EMAIL },
      token_uri: `${fcm.origin}/token`,
    }));
    atEnd(() => fcm.close());
    return fcm;
  }

  /// What to tell the server.
  config() {
    return { extra_root_file: certificates().ca_file, fcm_service_account_file: this.accountFile, fcm_url: this.origin };
  }

  async take(request, response) {
    request.on("error", () => {});
    const parts = [];
    for await (const part of request) parts.push(part);
    const text = Buffer.concat(parts).toString("utf8");
    const answer = request.url === "/token" ? await this.token(request, text) : await this.message(request, text);
    response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
    response.end(JSON.stringify(answer.body));
  }

  wrong(text) {
    this.violations.push(text);
  }

  /// RFC 7523, as developers.google.com, "Using OAuth 2.0 for server to server applications", words it.
  async token(request, text) {
    const at = this.now();
    const form = new URLSearchParams(text);
    const asked = { at };
    this.tokenRequests.push(asked);
    if (request.method !== "POST") this.wrong(`a token was asked for with ${request.method}`);
    if (request.headers["content-type"] !== "application/x-www-form-urlencoded") this.wrong("the form is called something else");
    if (form.get("grant_type") !== GRANT) this.wrong(`grant_type is ${form.get("grant_type")}`);
    try {
      const { payload, protectedHeader } = await jose.jwtVerify(form.get("assertion") ?? "", this.publicKey, {
        ...{ algorithms: ["RS256"], issuer: EMAIL, audience: `${this.origin}/token`, requiredClaims: ["iat", "exp"] },
        ...{ currentDate: new Date(at), clockTolerance: 60 },
      });
      asked.iat = payload.iat;
      if (protectedHeader.kid !== KEY_ID) this.wrong(`kid is ${protectedHeader.kid}`);
      if (payload.scope !== SCOPE) this.wrong(`the scope is ${payload.scope}`);
      if (payload.exp - payload.iat > 3600) this.wrong("the assertion is for more than an hour");
    } catch (error) {
      this.wrong(`the assertion is not good: ${error.message}`);
      return { status: 400, body: { error: "invalid_grant" } };
    }
    await this.beforeToken();
    const access_token = `ya29.stand-in-${this.tokenRequests.length}`;
    this.granted.set(access_token, at + this.lifetime_s * 1000);
    return { status: 200, body: { access_token, expires_in: this.lifetime_s, token_type: "Bearer" } };
  }

  async message(request, text) {
    const at = this.now();
    const asked = `${request.method} ${request.url}`;
    if (asked !== `POST /v1/projects/${PROJECT}/messages:send`) this.wrong(asked);
    if (!/^application\/json\b/.test(request.headers["content-type"])) this.wrong("the body is not called JSON");
    this.violations.push(...violations(text));
    const { message } = JSON.parse(text);
    const bearer = request.headers.authorization?.replace(/^Bearer /, "");
    const one = { at, message, token: message.token, delivery: message.data.delivery, bearer, taken: false };
    this.requests.push(one);
    if (!((this.granted.get(bearer) ?? -Infinity) > at)) {
      one.refused = true;
      return refusal(401, "UNAUTHENTICATED", { message: "Request had invalid authentication credentials." });
    }
    const answer = await this.answer(one);
    one.answer = answer;
    one.answered = this.now();
    one.taken = answer.status === 200;
    return { body: { name: `projects/${PROJECT}/messages/0:${this.requests.length}` }, ...answer };
  }

  of(token) {
    return this.requests.filter((request) => request.token === token);
  }

  close() {
    for (const session of this.sessions) session.destroy();
    this.server.close();
  }
}
