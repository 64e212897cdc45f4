import { appendFile, chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { several } from "../execute.ts";
import { endOnSignals } from "../service.ts";
import { clientsOf } from "./clients.ts";
import { startChancery } from "./chancery.ts";
import { startPebble } from "./pebble.ts";
import { setScenery } from "./stage.ts";
import { takeWalk, type Tried } from "./walk.ts";

/** The part of the run that happens in the namespace: DIRECTORY to work in, OUTCOMES file, and names of clients (all where none is given). */
async function main([directory = "", outcomes = "", ...only]: string[]): Promise<void> {
  await using scenery = await setScenery(join(directory, "scenery"));
  // Web servers read their files as a user of their own.
  await chmod(directory, 0o711);
  const clients = clientsOf(only);
  const record = (tried: Tried): Promise<void> => appendFile(outcomes, `${JSON.stringify(tried)}\n`);
  const pebble = process.env["PEBBLE"];
  await using server = pebble === undefined ? await startChancery() : await startPebble(pebble, join(directory, "pebble"));
  await using log = {
    async [Symbol.asyncDispose]() {
      if ("service" in server) await writeFile(join(directory, "chancery.log"), server.service.log());
    },
  };
  await scenery.trust(server.transportRoots);
  await scenery.trust(server.issuingRoots);
  await several(clients, 4, async (client) => {
    const before = performance.now();
    await takeWalk(client, { stage: { server, dnsHook: scenery.dnsHook }, pass: { name: "" }, directory, record });
    process.stdout.write(`${client.name}: ${((performance.now() - before) / 1000).toFixed(1)} s\n`);
  });
}

endOnSignals();
await main(process.argv.slice(2));
