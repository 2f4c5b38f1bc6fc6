// Stands in for Apple's push service, with Node's HTTP/2 and TLS, which share nothing with the server's. Keeps every request,
// with what is wrong with it, and judges provider tokens as Apple does: by their signature and age.
import { generateKeyPairSync } from "node:crypto";
import { createSecureServer } from "node:http2";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as jose from "jose";
import { violations } from "./apns_contract.mjs";
import { certificates } from "./certificates.mjs";
import { atEnd, folder } from "./harness.mjs";

const KEY_ID = "STANDIN001";
const TEAM_ID = "STANDIN999";
const TOPIC = "org.example.standin";
/// "No more than once every 20 minutes and no less than once every 60."
const HOUR_S = 3600;
const STREAMS_MAX = 1000;
/// How much a sender's clock may be ahead.
const AHEAD_S = 60;

/// The next of endless device tokens.
export function deviceToken() {
  deviceToken.last = (deviceToken.last ?? 0) + 1;
  return deviceToken.last.toString(16).padStart(64, "0");
}

/// All of a request's body; undefined if it was broken off.
async function whole(stream) {
  const parts = [];
  try {
    for await (const part of stream) parts.push(part);
    return Buffer.concat(parts);
  } catch {
    return undefined;
  }
}

export class Apns {
  /// Each request; `taken` if it was answered with 200.
  requests = [];
  /// What was wrong with requests, beside what `answer` says.
  violations = [];
  sessions = new Set();
  trusted = new WeakSet();
  /// The sender's time in ms; another for a server whose clock runs fast.
  now = () => Date.now();
  /// Requests without an answer: now, and at most.
  open = 0;
  openMost = 0;
  /// What to answer: `{ status, reason?, timestamp?, headers? }`, or `{ reset }` with an error code of HTTP/2; undefined leaves
  /// it without an answer.
  answer = () => ({ status: 200 });

  /// `firstStreams`: how many may be open on a connection until a token was good; Apple allows one.
  static async listen({ firstStreams = STREAMS_MAX } = {}) {
    const apns = new Apns();
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    apns.publicKey = publicKey;
    apns.keyFile = join(mkdtempSync(join(folder, "apns-")), "AuthKey.p8");
    writeFileSync(apns.keyFile, privateKey.export({ type: "pkcs8", format: "pem" }));
    const { cert, key } = certificates();
    apns.server = createSecureServer({ cert, key, allowHTTP1: false, settings: { maxConcurrentStreams: firstStreams } });
    apns.server.on("session", (session) => {
      apns.sessions.add(session);
      session.once("close", () => apns.sessions.delete(session));
      session.on("error", () => {});
    });
    apns.server.on("stream", (stream, headers) => apns.take(stream, headers));
    await new Promise((resolve) => apns.server.listen(0, "127.0.0.1", resolve));
    atEnd(() => apns.close());
    return apns;
  }

  /// What to tell the server.
  config() {
    return {
      extra_root_file: certificates().ca_file,
      apns_key_file: this.keyFile,
      apns_key_id: KEY_ID,
      apns_team_id: TEAM_ID,
      apns_topic: TOPIC,
      apns_url: `https://127.0.0.1:${this.server.address().port}`,
    };
  }

  async take(stream, headers) {
    // A stream that is reset ends a request; who waits for its answer sees that in the list.
    stream.on("error", () => {});
    const body = await whole(stream);
    if (body === undefined) return;
    const request = {
      ...{ at: this.now(), id: headers["apns-id"], token: headers[":path"].split("/").pop(), headers, body, stream },
      ...{ session: stream.session, bearer: headers.authorization?.replace(/^bearer /, ""), taken: false },
    };
    this.violations.push(...violations(headers, body, { topic: TOPIC, now_ms: request.at }));
    const refused = await this.judgeToken(request);
    if (!refused) this.trust(stream.session);
    this.requests.push(request);
    this.open += 1;
    this.openMost = Math.max(this.openMost, this.open);
    stream.once("close", () => (this.open -= 1));
    const answer = refused ?? (await this.answer(request));
    if (answer === undefined || stream.destroyed) return;
    if (answer.reset !== undefined) return stream.close(answer.reset);
    request.status = answer.status;
    request.taken = answer.status === 200;
    stream.respond({ ":status": answer.status, "apns-id": request.id, ...answer.headers });
    stream.end(answer.status === 200 ? "" : (answer.text ?? JSON.stringify({ reason: answer.reason, timestamp: answer.timestamp })));
  }

  /// A token was good: more streams may be open.
  trust(session) {
    if (!session || session.destroyed || this.trusted.has(session)) return;
    this.trusted.add(session);
    session.settings({ maxConcurrentStreams: STREAMS_MAX });
  }

  /// Apple's answer to a provider token that is not good, which is also a violation.
  async judgeToken(request) {
    const refuse = (reason, why) => {
      this.violations.push(`${reason}: ${why}`);
      return { status: 403, reason };
    };
    try {
      const { payload, protectedHeader } = await jose.jwtVerify(request.bearer, this.publicKey, {
        ...{ algorithms: ["ES256"], issuer: TEAM_ID, requiredClaims: ["iat"], currentDate: new Date(request.at) },
      });
      if (protectedHeader.kid !== KEY_ID) return refuse("InvalidProviderToken", `kid ${protectedHeader.kid}`);
      request.iat = payload.iat;
    } catch (error) {
      return refuse("InvalidProviderToken", error.message);
    }
    const age_s = request.at / 1000 - request.iat;
    if (age_s > HOUR_S) return refuse("ExpiredProviderToken", `${age_s} s old`);
    if (age_s < -AHEAD_S) return refuse("InvalidProviderToken", `${-age_s} s ahead`);
    return undefined;
  }

  /// How often each id was answered with 200.
  takenById() {
    const counts = new Map();
    for (const { id, taken } of this.requests) if (taken) counts.set(id, (counts.get(id) ?? 0) + 1);
    return counts;
  }

  of(token) {
    return this.requests.filter((request) => request.token === token);
  }

  close() {
    for (const session of this.sessions) session.destroy();
    this.server.close();
  }
}
