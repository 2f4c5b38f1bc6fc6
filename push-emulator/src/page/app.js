// Shows what arrives. A message takes the place of an older one with the same collapse key on the same target, as on a phone.
const find = (id) => document.getElementById(id);
const services = { webpush: "Web Push", apns: "APNs", fcm: "FCM" };
const shownMax = 200;
const cards = new Map();
let after = 0;
let asking = false;
let again = false;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const time = (us) => new Date(us / 1000).toLocaleTimeString();

// The three services carry the same words in different places.
function words(message) {
  const payload = message.payload ?? {};
  const alert = payload.aps?.alert ?? payload.notification ?? payload;
  const data = payload.data ?? payload;
  return {
    title: String(alert.title ?? "(no title)"),
    body: String(alert.body ?? ""),
    severity: String(data.severity ?? "info"),
    open: Number(data.open?.count ?? data.open_count ?? 0),
  };
}

function show(message) {
  const accepted = message.status >= 200 && message.status < 300;
  if (!accepted) return;
  const key = `${message.target_id} ${message.collapse_key || message.seq}`;
  const { title, body, severity, open } = words(message);
  const known = cards.get(key);
  const kinds = known?.id === message.id ? known.times + 1 : 1;
  const state = message.kind === "resolved" ? "resolved" : severity;
  const card = make("li", `${state} fresh`);
  const meta = make("div", "meta");
  meta.append(make("span", `word ${state}`, message.kind === "firing" ? severity : message.kind || severity));
  meta.append(make("span", "", `${services[message.provider]} · ${message.target}`));
  meta.append(make("time", "", time(message.received_us)));
  if (kinds > 1) meta.append(make("span", "times", `arrived ${kinds} times`));
  card.append(meta, make("div", "title", title), make("div", "body", body));
  if (open > 0) card.append(make("div", "meta", open === 1 ? "1 alert is open" : `${open} alerts are open`));
  known?.card.remove();
  cards.set(key, { card, id: message.id, times: kinds });
  find("cards").prepend(card);
  find("none").hidden = true;
  while (find("cards").children.length > shownMax) find("cards").lastElementChild.remove();
}

function log(message) {
  const item = make("li");
  const details = make("details");
  const failed = message.checks.filter((check) => !check.ok).length;
  const summary = make("summary");
  const verdict = message.status === 0 ? "cut off" : String(message.status);
  summary.append(make("span", failed || message.status >= 300 ? "no" : "ok", verdict));
  summary.append(` ${time(message.received_us)} · ${services[message.provider]} · ${message.target || "unknown target"}`);
  summary.append(` · ${message.kind || "message"}: ${words(message).title}`);
  if (message.repeat) summary.append(` · repeat ${message.repeat}`);
  if (failed) summary.append(make("span", "no", ` · ${failed} checks failed`));
  const table = make("table");
  for (const check of message.checks) {
    const row = make("tr");
    row.append(make("td", check.ok ? "ok" : "no", check.ok ? "right" : "wrong"), make("td", "", check.name), make("td", "", check.detail));
    table.append(row);
  }
  const headers = message.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  details.append(summary, make("h3", "", "Checks"), table);
  details.append(make("h3", "", "Payload"), make("pre", "", JSON.stringify(message.payload, null, 2)));
  details.append(make("h3", "", `Headers (${message.http})`), make("pre", "", headers));
  item.append(details);
  find("list").prepend(item);
  while (find("list").children.length > shownMax) find("list").lastElementChild.remove();
}

async function ask() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    do {
      again = false;
      const [messages, state] = await Promise.all([
        fetch(`/api/messages?after=${after}&limit=${shownMax}`).then((answer) => answer.json()),
        fetch("/api/state").then((answer) => answer.json()),
      ]);
      for (const message of messages.items) {
        after = message.seq;
        show(message);
        log(message);
      }
      const names = state.targets.map((t) => `${t.label} (${services[t.provider]}${t.gone ? ", gone" : ""})`);
      find("targets").textContent = names.length ? `Receives for: ${names.join(", ")}` : "No browser or app is registered here yet.";
    } while (again);
  } finally {
    asking = false;
  }
}

find("clear").addEventListener("click", async () => {
  await fetch("/api/messages", { method: "DELETE" });
  cards.clear();
  find("cards").replaceChildren();
  find("list").replaceChildren();
  find("none").hidden = false;
});

const line = new EventSource("/api/stream");
line.onmessage = () => { find("line").textContent = "online"; ask().catch(() => { find("line").textContent = "no answer"; }); };
line.onerror = () => { find("line").textContent = "offline, trying again"; };
const tick = () => { find("clock").textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }); };
tick();
setInterval(tick, 5000);
