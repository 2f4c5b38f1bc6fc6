// What Google documents of `projects.messages.send`. The fields are judged by the public discovery document of fcm v1, of which
// fcm_v1_schemas.json holds the schemas; the rest is what that document says in words.
import { readFileSync } from "node:fs";
import { violations as bySchema } from "./discovery_schema.mjs";

const { schemas } = JSON.parse(readFileSync(new URL("fcm_v1_schemas.json", import.meta.url), "utf8"));
const PAYLOAD_BYTES_MAX = 4096;
const TTL_S_MAX = 28 * 86_400;
const RESERVED = /^(from$|message_type$|google\.|gcm\.notification\.)/;

/// What is wrong with a request's body.
export function violations(text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch (error) {
    return [`the body is no JSON: ${error.message}`];
  }
  const wrong = bySchema(schemas, { $ref: "SendMessageRequest" }, body);
  const message = body.message ?? {};
  const targets = ["token", "topic", "condition", "fid"].filter((name) => message[name] !== undefined);
  if (targets.length !== 1) wrong.push(`message has the targets ${targets}`);
  const payload = JSON.stringify({ ...message.notification, ...message.data });
  if (Buffer.byteLength(payload) > PAYLOAD_BYTES_MAX) wrong.push(`the payload has ${Buffer.byteLength(payload)} bytes`);
  for (const key of Object.keys(message.data ?? {})) if (RESERVED.test(key)) wrong.push(`message.data.${key} is reserved`);
  const ttl_s = Number.parseFloat(message.android?.ttl ?? "0");
  if (ttl_s < 0 || ttl_s > TTL_S_MAX) wrong.push(`message.android.ttl is ${ttl_s} s`);
  return wrong;
}
