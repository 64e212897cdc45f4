/** Opens a token, prints the process id of its host, and waits to be killed. Argument: JSON with module, token, softHsmConf; PIN on standard input. */
import { text } from "node:stream/consumers";

import { openHsm } from "../../src/hsm/client.ts";
import { childProcesses, newKey, optionNames } from "./signing-token.ts";

const { module, token, softHsmConf } = JSON.parse(process.argv[2] ?? "{}");
const events = { tell() {}, measure() {} };
const pin = await text(process.stdin);
const hsm = await openHsm(
  { module, token, softHsmConf, pin, sessions: 2, deadlineMs: 5000, queueLimit: 100, production: false, administration: true, optionNames },
  { events },
);
await newKey(hsm);
const [host] = (await childProcesses()).filter(({ command }) => command.includes("host.ts"));
process.stdout.write(`${host?.pid ?? 0}\n`);
