import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { several } from "../execute.ts";
import { endOnSignals } from "../service.ts";
import { clientsOf } from "./clients.ts";
import { startPebble } from "./pebble.ts";
import { setScenery } from "./stage.ts";
import { takeWalk, type Tried } from "./walk.ts";

/** The part of the run that happens in the namespace: DIRECTORY to work in, OUTCOMES file, and names of clients (all where none is given). */
async function main([directory = "", outcomes = "", ...only]: string[]): Promise<void> {
  await using scenery = await setScenery(join(directory, "scenery"));
  const clients = clientsOf(only);
  const record = (tried: Tried): Promise<void> => appendFile(outcomes, `${JSON.stringify(tried)}\n`);
  await using server = await startPebble(process.env["PEBBLE"] ?? "", join(directory, "pebble"));
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
