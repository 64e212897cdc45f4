import { appendFile, chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { several } from "../execute.ts";
import { endOnSignals, type Service } from "../service.ts";
import { writeAwayHook } from "./away.ts";
import { startChancery } from "./chancery.ts";
import type { Client } from "./client.ts";
import { clientsHere } from "./clients.ts";
import { startInstances, type Instances } from "./instances.ts";
import { startPebble } from "./pebble.ts";
import { setScenery, type AcmeServer, type Scenery } from "./stage.ts";
import { takeWalk, type Pass, type Tried } from "./walk.ts";

/** A server, and what its clients are taken through. */
type Act = { readonly server: AcmeServer; readonly pass: Pass; readonly clients: readonly Client[]; readonly awayHook?: string };

/** What every act needs. */
type World = {
  readonly clients: readonly Client[];
  /** An empty directory of that name. */
  place(name: string): Promise<string>;
  perform(act: Act): Promise<void>;
  record(tried: Tried): Promise<void>;
};

/** Enough to see that nonces are honoured: an account, an order, a certificate, and its end. */
const short = ["register", "http-01", "revoke"] as const;

/** The part of the run that happens in the namespace: DIRECTORY to work in, OUTCOMES file, and names of clients (all where none is given). */
async function main([directory = "", outcomes = "", ...only]: string[]): Promise<void> {
  // Web servers read their files as a user of their own.
  await chmod(directory, 0o711);
  await using scenery = await setScenery(join(directory, "scenery"));
  const record = (tried: Tried): Promise<void> => appendFile(outcomes, `${JSON.stringify(tried)}\n`);
  const world: World = {
    clients: clientsHere(only),
    record,
    perform: (act) => play(act, { scenery, directory, record }),
    place: async (name) => (await mkdir(join(directory, name)), join(directory, name)),
  };
  const pebble = process.env["CONFORMANCE_PEBBLE"];
  if (pebble !== undefined) return await beforePebble(world, pebble);
  await everything(world);
  await Promise.all([noncesRefused(world), tokenAway(world)]);
  await restarts(world, only.length === 0);
}

async function beforePebble({ clients, perform, place }: World, program: string): Promise<void> {
  await using server = await startPebble(program, await place("pebble"));
  await perform({ server, pass: { name: "" }, clients });
}

async function everything({ clients, perform, place }: World): Promise<void> {
  const directory = await place("plain");
  await using plain = await startChancery(directory);
  await using _ = logOf(plain.service, directory);
  await perform({ server: plain.server, pass: { name: "" }, clients });
}

async function noncesRefused({ clients, perform, place }: World): Promise<void> {
  const directory = await place("rejecting");
  await using rejecting = await startChancery(directory, { CHANCERY_TEST_NONCE_REJECT_PERCENT: "20" });
  await using _ = logOf(rejecting.service, directory);
  const patient = clients.filter(({ retriesBadNonce }) => retriesBadNonce);
  await perform({ server: rejecting.server, pass: { name: "nonces refused", abilities: short }, clients: patient });
}

async function tokenAway({ clients, perform, place }: World): Promise<void> {
  const resuming = clients.filter(({ name }) => name === "cert-manager");
  if (resuming.length === 0) return;
  const directory = await place("losing");
  await using losing = await startChancery(directory);
  await using _ = logOf(losing.service, directory);
  const awayHook = join(directory, "away-hook");
  await writeAwayHook(awayHook, losing.service.processId);
  await perform({ server: losing.server, pass: { name: "HSM away", abilities: ["register", "http-01"] }, clients: resuming, awayHook });
}

/** @param all - whether enough clients walk for an instance to end under them */
async function restarts({ clients, perform, place, record }: World, all: boolean): Promise<void> {
  await using two = await startInstances(await place("two"));
  let over = false;
  const restarting = restartUntil(two, () => over);
  await perform({ server: two.server, pass: { name: "restarts", abilities: short }, clients });
  over = true;
  const ended = await restarting;
  const bad = two.balancer.badNonces();
  const shares = [...two.balancer.answered().values()];
  process.stdout.write(`${ended} restarts under the clients; answers of each instance: ${shares.join(", ")}; bad nonces: ${bad}\n`);
  const of = { client: "chancery", pass: "restarts", ability: "http-01" } as const;
  const served = ended > 0 && shares.length > 2;
  if (all) {
    await record({
      ...of,
      check: "an instance ends under the clients, and the one in its place answers",
      complaint: served ? undefined : `${ended} ended, and ${shares.length} answered`,
    });
  }
  await record({
    ...of,
    check: "no bad nonce over two instances",
    complaint: bad === 0 ? undefined : `${bad} answers said badNonce`,
  });
}

/** Restarts the second instance again and again, a hundred times at most. @returns how often one came to its end before `over`. */
async function restartUntil(two: Instances, over: () => boolean): Promise<number> {
  for (let ended = 0; ended < 100; ended++) {
    const begun = performance.now();
    await two.restart();
    process.stdout.write(`the second instance was restarted in ${((performance.now() - begun) / 1000).toFixed(1)} s\n`);
    if (over()) return ended;
  }
  return 100;
}

/** Takes the clients of an act over the stage, four at a time: they mostly wait. */
async function play(
  { server, pass, clients, awayHook }: Act,
  world: { scenery: Scenery; directory: string; record: (tried: Tried) => Promise<void> },
): Promise<void> {
  const { scenery, directory, record } = world;
  await scenery.trust(server.transportRoots);
  await scenery.trust(server.issuingRoots);
  const before = performance.now();
  await several(clients, 4, async (client) => {
    const begun = performance.now();
    const stage = { server, dnsHook: scenery.dnsHook, ...(awayHook !== undefined && { awayHook }) };
    await takeWalk(client, { stage, pass, directory, record });
    process.stdout.write(`${client.name}${pass.name && `, ${pass.name}`}: ${((performance.now() - begun) / 1000).toFixed(1)} s\n`);
  });
  const took = ((performance.now() - before) / 1000).toFixed(0);
  process.stdout.write(`${clients.length} clients, ${pass.name || "everything they can"}: ${took} s\n`);
}

/** Leaves the last words of a service in `directory`. */
function logOf(service: Service, directory: string): AsyncDisposable {
  return { [Symbol.asyncDispose]: () => writeFile(join(directory, "log"), service.log()) };
}

endOnSignals();
await main(process.argv.slice(2));
