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
import { webPushTesting } from "./web_push_testing.mjs";
import { webpush } from "./webpush.mjs";

const PARTS = { emulator, webpush, webPushTesting, apnsTokens, apnsGoaway, apnsVerdicts, apnsStorm, fcm, fcmStorm };

const names = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(PARTS, name));
if (unknown.length > 0) throw new Error(`no part ${unknown}; there are ${Object.keys(PARTS)}`);
await run(Object.entries(PARTS).filter(([name]) => names.length === 0 || names.includes(name)));
