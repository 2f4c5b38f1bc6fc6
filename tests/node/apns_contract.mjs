// What Apple documents of a request to its push service ("Sending notification requests to APNs", "Generating a remote
// notification", "Establishing a token-based connection to APNs"). Answers what is wrong with one, as texts.

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const PUSH_TYPES = "alert background location voip complication fileprovider mdm liveactivity pushtotalk widgets".split(" ");
const KNOWN_HEADERS = ["apns-id", "apns-push-type", "apns-expiration", "apns-priority", "apns-topic", "apns-collapse-id"];
const PAYLOAD_BYTES_MAX = 4096;
const STORED_DAYS_MAX = 30;

const text = (value) => typeof value === "string";
const number = (value) => typeof value === "number";
const whole = (value) => Number.isInteger(value) && value >= 0;
const texts = (value) => Array.isArray(value) && value.every(text);
const one = (...values) => (value) => values.includes(value);
/// An object of these keys only, each as its test wants.
const only = (keys) => (value) => {
  const known = ([key, inner]) => Object.hasOwn(keys, key) && keys[key](inner);
  return typeof value === "object" && value !== null && Object.entries(value).every(known);
};

const ALERT = only({
  ...{ title: text, subtitle: text, body: text, "launch-image": text, "title-loc-key": text, "title-loc-args": texts },
  ...{ "subtitle-loc-key": text, "subtitle-loc-args": texts, "loc-key": text, "loc-args": texts },
});
const SOUND = only({ critical: one(0, 1), name: text, volume: (value) => number(value) && value >= 0 && value <= 1 });
const APS = {
  alert: (value) => text(value) || ALERT(value),
  badge: whole,
  sound: (value) => text(value) || SOUND(value),
  "thread-id": text,
  category: text,
  "content-available": one(1),
  "mutable-content": one(1),
  "target-content-id": text,
  "interruption-level": one("passive", "active", "time-sensitive", "critical"),
  "relevance-score": (value) => number(value) && value >= 0 && value <= 1,
  "filter-criteria": text,
};

function inHeaders(headers, topic, now_ms) {
  const wrong = [];
  const want = (name, good) => {
    if (!text(headers[name]) || !good(headers[name])) wrong.push(`${name} is ${headers[name]}`);
  };
  want(":path", (path) => /^\/3\/device\/[0-9a-f]{64,200}$/.test(path));
  want(":method", one("POST"));
  want("apns-id", (id) => UUID.test(id));
  want("apns-topic", one(topic));
  want("apns-push-type", one(...PUSH_TYPES));
  want("apns-priority", one("10", "5", "1"));
  want("apns-expiration", (s) => {
    const left_s = Number(s) - now_ms / 1000;
    return /^[0-9]+$/.test(s) && (s === "0" || (left_s > 0 && left_s <= STORED_DAYS_MAX * 86_400));
  });
  want("apns-collapse-id", (id) => id !== "" && Buffer.byteLength(id) <= 64);
  want("authorization", (bearer) => /^bearer [\w-]+\.[\w-]+\.[\w-]+$/.test(bearer));
  for (const name of Object.keys(headers)) {
    if (name.startsWith("apns-") && !KNOWN_HEADERS.includes(name)) wrong.push(`${name} is no header of APNs`);
  }
  return wrong;
}

function inPayload(body) {
  if (body.length > PAYLOAD_BYTES_MAX) return [`the payload has ${body.length} bytes`];
  let payload;
  try {
    payload = JSON.parse(body.toString("utf8"));
  } catch (error) {
    return [`the payload is no JSON: ${error.message}`];
  }
  if (typeof payload?.aps !== "object") return ["the payload has no aps"];
  const wrong = Object.entries(payload.aps).filter(([key, value]) => !Object.hasOwn(APS, key) || !APS[key](value));
  const texts = wrong.map(([key, value]) => `aps.${key} is ${JSON.stringify(value)}`);
  const { alert } = payload.aps;
  if (!(text(alert) ? alert : alert?.title || alert?.body)) texts.push("aps.alert says nothing");
  return texts;
}

/// `body`: as it came; `topic`: the app's; `now_ms`: the sender's time.
export function violations(headers, body, { topic, now_ms }) {
  return [...inHeaders(headers, topic, now_ms), ...inPayload(body)];
}
