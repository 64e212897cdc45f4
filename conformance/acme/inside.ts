import { appendFile, chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { several } from "../execute.ts";
import { endOnSignals, type Service } from "../service.ts";
import { startChancery } from "./chancery.ts";
import type { Client } from "./client.ts";
import { clientsHere } from "./clients.ts";
import { startInstances, type Instances } from "./instances.ts";
import { startPebble } from "./pebble.ts";
import { setScenery, type AcmeServer, type Scenery } from "./stage.ts";
import { takeWalk, type Pass, type Tried } from "./walk.ts";

/** A server, and what its clients are taken through. */
type Act = { readonly server: AcmeServer; readonly pass: Pass; readonly clients: readonly Client[] };

/** Enough to see that nonces are honoured: an account, an order, a certificate, and its end. */
const short = ["register", "http-01", "revoke"] as const;

/** The part of the run that happens in the namespace: DIRECTORY to work in, OUTCOMES file, and names of clients (all where none is given). */
async function main([directory = "", outcomes = "", ...only]: string[]): Promise<void> {
  // Web servers read their files as a user of their own.
  await chmod(directory, 0o711);
  await using scenery = await setScenery(join(directory, "scenery"));
  const record = (tried: Tried): Promise<void> => appendFile(outcomes, `${JSON.stringify(tried)}\n`);
  const clients = clientsHere(only);
  const perform = (act: Act): Promise<void> => play(act, { scenery, directory, record });
  const place = async (name: string): Promise<string> => (await mkdir(join(directory, name)), join(directory, name));

  const pebble = process.env["CONFORMANCE_PEBBLE"];
  if (pebble !== undefined) {
    await using server = await startPebble(pebble, await place("pebble"));
    return await perform({ server, pass: { name: "" }, clients });
  }
  {
    await using plain = await startChancery(await place("plain"));
    await using _ = logOf(plain.service, join(directory, "plain.log"));
    await perform({ server: plain.server, pass: { name: "" }, clients });
  }
  {
    await using rejecting = await startChancery(await place("rejecting"), { CHANCERY_TEST_NONCE_REJECT_PERCENT: "20" });
    await using _ = logOf(rejecting.service, join(directory, "rejecting.log"));
    const patient = clients.filter(({ retriesBadNonce }) => retriesBadNonce);
    await perform({ server: rejecting.server, pass: { name: "nonces refused", abilities: short }, clients: patient });
  }
  await using two = await startInstances(await place("two"));
  let over = false;
  const restarting = restartUntil(two, () => over);
  await perform({ server: two.server, pass: { name: "restarts", abilities: short }, clients });
  over = true;
  const restarts = await restarting;
  const bad = two.balancer.badNonces();
  const shares = [...two.balancer.answered().values()].join(", ");
  process.stdout.write(`${restarts} restarts; answers of each instance: ${shares}; bad nonces: ${bad}\n`);
  const complaint = bad === 0 ? undefined : `${bad} answers said badNonce`;
  await record({ client: "chancery", pass: "restarts", ability: "http-01", check: "no bad nonce over two instances", complaint });
}

/** Restarts the second instance again and again, a hundred times at most. @returns how often. */
async function restartUntil(two: Instances, over: () => boolean): Promise<number> {
  for (let restarts = 0; restarts < 100; restarts++) {
    if (over()) return restarts;
    const begun = performance.now();
    await two.restart();
    process.stdout.write(`the second instance was restarted in ${((performance.now() - begun) / 1000).toFixed(1)} s\n`);
  }
  return 100;
}

/** Takes the clients of an act over the stage, four at a time: they mostly wait. */
async function play(
  { server, pass, clients }: Act,
  world: { scenery: Scenery; directory: string; record: (tried: Tried) => Promise<void> },
): Promise<void> {
  const { scenery, directory, record } = world;
  await scenery.trust(server.transportRoots);
  await scenery.trust(server.issuingRoots);
  const before = performance.now();
  await several(clients, 4, async (client) => {
    const begun = performance.now();
    await takeWalk(client, { stage: { server, dnsHook: scenery.dnsHook }, pass, directory, record });
    process.stdout.write(`${client.name}${pass.name && `, ${pass.name}`}: ${((performance.now() - begun) / 1000).toFixed(1)} s\n`);
  });
  process.stdout.write(
    `${clients.length} clients, ${pass.name || "everything they can"}: ${((performance.now() - before) / 1000).toFixed(0)} s\n`,
  );
}

/** Leaves the last words of a service behind. */
function logOf(service: Service, file: string): AsyncDisposable {
  return { [Symbol.asyncDispose]: () => writeFile(file, service.log()) };
}

endOnSignals();
await main(process.argv.slice(2));
