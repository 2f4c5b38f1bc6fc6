// Shows what arrives. A message takes the place of an older one with the same collapse key on the same target, as on a phone.
const find = (id) => document.getElementById(id);
const services = { webpush: "Web Push", apns: "APNs", fcm: "FCM", fcm_token: "FCM's token door", email: "E-mail", webhook: "Webhook" };
const labels = {
  en: { acknowledge: "Acknowledge", silence: "Silence 1 h", dismissed: "Dismiss" },
  de: { acknowledge: "Bestätigen", silence: "1 h stumm", dismissed: "Schließen" },
};
const faultWords = {
  status: (fault) => `answers ${fault.status}`, stall: () => "never answers", delay: () => "answers late", reset: () => "cuts connections",
  goaway: () => "ends connections", nonsense: () => "answers nonsense", huge: () => "answers far too much", gone: () => "says gone",
};
const shownMax = 200;
const screensMax = 20;
const cards = new Map();
let after = 0;
let asking = false;
let again = false;
let server = false;

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((part) => part !== undefined && part !== ""));
  return element;
}

const time = (us) => new Date(us / 1000).toLocaleTimeString();

// Of a picture's address; empty where there is none that a phone would load.
function hostOf(address) {
  if (typeof address !== "string" || !address.startsWith("https://") || !URL.canParse(address)) return "";
  return new URL(address).host;
}

// The services carry the same things in different places; FCM has texts only.
function read(message) {
  const payload = message.payload ?? {};
  const data = payload.data ?? payload;
  const words = payload.aps?.alert ?? payload.notification ?? data;
  const actions = Array.isArray(data.actions) ? data.actions : String(data.actions ?? "").split(",").filter(Boolean);
  return {
    title: String(words.title ?? "(no title)"),
    body: String(words.body ?? ""),
    severity: String(data.severity ?? "info"),
    open: Number(data.open?.count ?? data.open_count ?? 0),
    rings: String(data.ring) === "true",
    stays: String(data.stay) === "true",
    lang: data.lang === "de" ? "de" : "en",
    image: hostOf(data.image),
    token: Boolean(data.token),
    actions,
  };
}

async function post(path, body, method = "POST") {
  const answer = await fetch(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ?? `answer ${answer.status}`);
  return said;
}

// What a button of the message does: the emulator gives the token back to the server.
async function act(message, action, buttons, outcome) {
  for (const button of buttons) button.disabled = true;
  outcome.hidden = false;
  outcome.textContent = "…";
  try {
    const { status, answer } = await post("/api/actions", { seq: message.seq, action });
    outcome.textContent = answer?.text ?? answer?.detail ?? answer?.title ?? `The server answered ${status}.`;
    if (status >= 300) for (const button of buttons) button.disabled = false;
    return status < 300;
  } catch (error) {
    outcome.textContent = error.message;
    for (const button of buttons) button.disabled = false;
    return false;
  }
}

function show(message) {
  if (message.status < 200 || message.status >= 300) return;
  const key = `${message.target_id} ${message.collapse_key || message.seq}`;
  const seen = read(message);
  const known = cards.get(key);
  const times = known?.id === message.id ? known.times + 1 : 1;
  const quiet = message.kind === "resolved" || message.kind === "acknowledged";
  const state = quiet ? "quiet" : seen.severity;
  const card = make("li", `${state} fresh`);
  card.lang = seen.lang;
  card.dataset.target = message.target_id;
  const word = message.kind === "firing" || !message.kind ? seen.severity : message.kind;
  const meta = make("div", "meta", make("span", `word ${state}`, word), make("span", "", message.target), make("time", "", time(message.received_us)));
  if (times > 1) meta.append(make("span", "", `arrived ${times} times`));
  if (message.provider !== "email") meta.append(make("span", "", [seen.rings ? "rang" : "silent", seen.stays && "stays"].filter(Boolean).join(", ")));
  card.append(meta, make("div", "title", seen.title), make("div", "body", seen.body));
  // Named, not loaded: a picture is on someone else's machine.
  if (seen.image) card.append(make("div", "picture", `Picture from ${seen.image}`));
  if (seen.open > 0) card.append(make("div", "meta", seen.open === 1 ? "1 alert is open" : `${seen.open} alerts are open`));
  if (seen.token && message.provider !== "email") controls(message, seen, card);
  card.hidden = Boolean(find("screen").value) && find("screen").value !== message.target_id;
  // In its place: what only says that it is over must not jump to the top.
  if (known?.card.isConnected) known.card.replaceWith(card);
  else find("cards").prepend(card);
  cards.set(key, { card, id: message.id, times });
  find("none").hidden = true;
  while (find("cards").children.length > shownMax) find("cards").lastElementChild.remove();
}

function controls(message, seen, card) {
  const row = make("div", "actions");
  const outcome = make("p", "outcome");
  outcome.setAttribute("role", "status");
  outcome.hidden = true;
  const buttons = [...seen.actions, "dismissed"].map((action) => {
    const label = labels[seen.lang][action] ?? action;
    const button = make("button", action === "dismissed" ? "away" : "", action === "dismissed" ? "×" : label);
    button.type = "button";
    button.disabled = !server;
    button.title = server ? label : "Start the emulator with --server to use this";
    button.setAttribute("aria-label", `${label}: ${seen.title}`);
    button.onclick = async () => {
      const done = await act(message, action, buttons, outcome);
      if (done && action === "dismissed") card.remove();
      buttons.at(-1).disabled = false;
    };
    return button;
  });
  row.append(...buttons.slice(0, -1));
  card.prepend(buttons.at(-1));
  card.append(row, outcome);
}

function log(message) {
  const item = make("li");
  const details = make("details");
  const failed = message.checks.filter((check) => !check.ok).length;
  const verdict = message.status === 0 ? "no answer" : String(message.status);
  const summary = make("summary", "", make("span", failed || message.status === 0 || message.status >= 300 ? "no" : "ok", verdict));
  summary.append(` ${time(message.received_us)} · ${services[message.provider]} · ${message.target || "unknown target"}`);
  summary.append(` · ${message.kind || "message"}: ${read(message).title}`);
  if (message.repeat) summary.append(` · repeat ${message.repeat}`);
  if (failed) summary.append(make("span", "no", ` · ${failed} checks failed`));
  // Built when it is looked at: most never are.
  details.ontoggle = () => { if (details.children.length === 1) details.append(...inside(message)); };
  details.append(summary);
  item.append(details);
  find("list").prepend(item);
  while (find("list").children.length > shownMax) find("list").lastElementChild.remove();
}

function inside(message) {
  const table = make("table");
  for (const check of message.checks) {
    table.append(make("tr", "", make("td", check.ok ? "ok" : "no", check.ok ? "right" : "wrong"), make("td", "", check.name), make("td", "", check.detail)));
  }
  const headers = message.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  const text = JSON.stringify(message.payload, null, 2);
  return [
    make("h3", "", "Checks"), table, make("h3", "", "Payload"), make("pre", "", text),
    make("h3", "", `Headers (${message.http})`), make("pre", "", headers),
  ];
}

function state(now) {
  server = now.server;
  const names = now.targets.map((t) => `${t.label} (${services[t.provider]}${t.gone ? ", gone" : ""})`);
  find("targets").textContent = names.length ? `Receives for: ${names.slice(0, 20).join(", ")}${names.length > 20 ? " …" : ""}` : "No endpoint is registered here yet.";
  const screen = find("screen");
  const there = new Set(now.targets.map((target) => target.id));
  // What is looked at stays, also when its target is deleted.
  for (const option of [...screen.options]) if (option.value && !option.selected && !there.has(option.value)) option.remove();
  const listed = new Set(Array.from(screen.options, (option) => option.value));
  for (const target of now.targets) {
    if (listed.has(target.id) || screen.options.length > screensMax) continue;
    screen.append(new Option(target.label, target.id));
  }
  const fault = (f) => {
    const often = f.share && f.share < 1 ? `${Math.round(f.share * 100)} % of the time` : "";
    const left = f.seconds ? `for ${f.seconds} s` : `for ${f.count} request${f.count === 1 ? "" : "s"}`;
    return `${services[f.provider]} ${faultWords[f.kind](f)} ${[often, left].filter(Boolean).join(", ")}`;
  };
  find("planned").textContent = now.faults.length ? `${now.faults.map(fault).join("; ")}.` : "Every provider is well.";
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
      state(await fetch("/api/state").then((answer) => answer.json()));
      const messages = await fetch(`/api/messages?after=${after}&limit=${shownMax}`).then((answer) => answer.json());
      for (const message of messages.items) {
        after = message.seq;
        show(message);
        log(message);
      }
    } while (again);
  } finally {
    asking = false;
  }
}

const refresh = () => ask().catch(() => { find("line").textContent = "no answer"; });

find("faults").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const [kind, status] = form.get("kind").split(" ");
  const fault = { provider: form.get("provider"), kind, share: Number(form.get("share")) };
  if (status) fault.status = fault.provider === "email" ? ({ 503: 451, 429: 450, 403: 535 })[status] : Number(status);
  if (status === "429") fault.retry_after = "20";
  if (kind === "delay") fault.delay_ms = 3000;
  if (form.get("seconds")) fault.seconds = Number(form.get("seconds"));
  await post("/api/faults", fault).then(refresh, (error) => { find("planned").textContent = error.message; });
});
find("well").addEventListener("click", () => fetch("/api/faults", { method: "DELETE" }).then(refresh));
find("screen").addEventListener("change", (event) => {
  for (const card of find("cards").children) card.hidden = Boolean(event.target.value) && card.dataset.target !== event.target.value;
});
find("clear").addEventListener("click", async () => {
  await fetch("/api/messages", { method: "DELETE" });
  cards.clear();
  find("cards").replaceChildren();
  find("list").replaceChildren();
  find("none").hidden = false;
});

const line = new EventSource("/api/stream");
line.onmessage = () => { find("line").textContent = "online"; refresh(); };
line.onerror = () => { find("line").textContent = "offline, trying again"; };
const tick = () => {
  const now = new Date();
  find("clock").textContent = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  find("date").textContent = now.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
};
tick();
setInterval(tick, 5000);
// Faults run out by themselves.
setInterval(() => { if (!document.hidden && find("planned").textContent !== "Every provider is well.") refresh(); }, 5000);
