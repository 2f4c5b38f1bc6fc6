// Checks pushing with libraries and stand-ins that share no code with the server or its emulator. With names it runs those
// parts only.
import { apnsGoaway } from "./apns_goaway.mjs";
import { apnsStorm } from "./apns_storm.mjs";
import { apnsTokens } from "./apns_tokens.mjs";
import { apnsVerdicts } from "./apns_verdicts.mjs";
import { emulator } from "./emulator.mjs";
import { fcm } from "./fcm.mjs";
import { fcmStorm } from "./fcm_storm.mjs";
import { run } from "./harness.mjs";
import { registeredAgain } from "./registered_again.mjs";
import { webPushTesting } from "./web_push_testing.mjs";
import { webpush } from "./webpush.mjs";
import { webpushConnections } from "./webpush_connections.mjs";

/// Those of a group mostly wait, so they run at the same time.
const GROUPS = [
  { emulator },
  { webpush },
  { webPushTesting },
  { webpushConnections },
  { apnsTokens, apnsStorm, fcmStorm },
  { apnsGoaway },
  { apnsVerdicts },
  { fcm },
  { registeredAgain },
];

const names = process.argv.slice(2);
const known = GROUPS.flatMap((group) => Object.keys(group));
const unknown = names.filter((name) => !known.includes(name));
if (unknown.length > 0) throw new Error(`no part ${unknown}; there are ${known}`);
const wanted = ([name]) => names.length === 0 || names.includes(name);
await run(GROUPS.map((group) => Object.entries(group).filter(wanted)));
