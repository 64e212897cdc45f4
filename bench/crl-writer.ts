import { randomUUID } from "node:crypto";
import { open, readFile, writeFile } from "node:fs/promises";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { openCrlSnapshot, readCrlEntries } from "../src/ca/crl-entry-store.ts";
import type { CrlSlot } from "../src/ca/crl-slot.ts";
import { openDatabase } from "../src/database/connect.ts";
import { openHsm } from "../src/hsm/client.ts";
import { softHsmConf } from "../src/hsm/softhsm.ts";
import { initialiseToken } from "../src/hsm/token.ts";
import { signatureAlgorithm, spkiSha256 } from "../src/pki/algorithm.ts";
import { keyIdentifier } from "../src/pki/certificate.ts";
import { crlFrame, type CrlPlan, tbsCrlOctets, tbsCrlParts } from "../src/pki/crl.ts";
import { lintedParts } from "../src/pki/lint-crl.ts";
import { encodeName } from "../src/pki/name.ts";

/**
 * Writes the full CRL of the authority in a database, as the service makes it, into a file: read in one snapshot, linted, signed by a token
 * of its own. Started with the module's path, a directory, the database's URL and the authority; says its key (SPKI, base64), then answers
 * each message { file } with what that took.
 */
const [, , modulePath = "", directory = "", url = "", authority = ""] = process.argv;
const conf = await softHsmConf(directory);
const pin = "12345678";
await initialiseToken({ module: modulePath, softHsmConf: conf, label: "bench", soPin: pin, userPin: pin });
const silent = { tell: () => undefined, measure: () => undefined };
const database = await openDatabase({ url }, { events: silent });
const hsm = await openHsm(
  {
    module: modulePath,
    token: "bench",
    pin,
    sessions: 2,
    deadlineMs: 10_000,
    queueLimit: 100,
    softHsmConf: conf,
    production: false,
    administration: true,
    optionNames: { module: "module", token: "token", pinFile: "pin" },
  },
  { events: silent },
);
const ckaId = randomUUID().replaceAll("-", "");
const { spki } = await hsm.generate({ ckaId, name: "bench", algorithm: "P-256", purposes: ["crl"] });
const key = { token: "bench", ckaId, algorithm: "P-256", spkiSha256: spkiSha256(spki) } as const;
const issuer = {
  subject: encodeName([{ type: "CN", value: authority }]),
  subjectKeyIdentifier: keyIdentifier(spki),
  algorithm: key.algorithm,
};
const slot: CrlSlot = { path: authority, authority, shard: undefined, url: undefined, published: undefined };

/** What one CRL took. */
export type CrlMeasurement = {
  readonly seconds: number;
  /** Longest time that the event loop was held, in milliseconds. */
  readonly stallMs: number;
  /** Memory of this process before it began, and the most that it had on the way. */
  readonly rssBeforeMegabytes: number;
  readonly rssMegabytes: number;
  readonly cpuSeconds: number;
  readonly octets: number;
};

process.on("message", ({ file }: { file: string }) => {
  void measured(() => write(file)).then((measurement) => process.send?.(measurement));
});
process.on("disconnect", () => void Promise.all([hsm[Symbol.asyncDispose](), database[Symbol.asyncDispose]()]));
process.send?.({ spki: Buffer.from(spki).toString("base64") });

async function measured(act: () => Promise<number>): Promise<CrlMeasurement> {
  // Loading the modules took more memory than the work does: what that left is not the work's.
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
  await writeFile("/proc/self/clear_refs", "5");
  const rssBeforeMegabytes = process.memoryUsage().rss / 1e6;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await setImmediate();
  delay.enable();
  const [begun, before] = [performance.now(), process.cpuUsage()];
  const octets = await act();
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - begun) / 1000;
  delay.disable();
  const rssMegabytes = Number(/VmHWM:\s+(\d+)/.exec(await readFile("/proc/self/status", "utf8"))?.[1]) / 1000;
  return { seconds, stallMs: delay.max / 1e6, rssBeforeMegabytes, rssMegabytes, cpuSeconds: (user + system) / 1e6, octets };
}

/** Writes the CRL, and gives its octets. The file has the head of the outer SEQUENCE last in time and first in place: it is of fixed length. */
async function write(path: string): Promise<number> {
  await using file = await open(path, "w");
  const thisUpdate = new Date(Math.floor(Date.now() / 1000) * 1000);
  const [plan, signature] = await database.transactAlone(60_000, async (tx) => {
    const { entryCount, entriesOctets } = await openCrlSnapshot(tx, slot, thisUpdate);
    const nextUpdate = new Date(thisUpdate.getTime() + 86_400_000);
    const counted: CrlPlan = {
      number: BigInt(thisUpdate.getTime()),
      thisUpdate,
      nextUpdate,
      distributionPoint: undefined,
      entryCount,
      entriesOctets,
    };
    const spooled = async function* () {
      const writing: Promise<unknown>[] = [];
      let position = headRoom;
      for await (const part of tbsCrlParts(issuer, counted, readCrlEntries(tx, slot, thisUpdate))) {
        if (writing.length === 4) await writing.shift();
        writing.push(file.write(part, 0, part.length, position));
        position += part.length;
        yield part;
      }
      await Promise.all(writing);
    };
    return [counted, await hsm.signParts(key, "crl", lintedParts(spooled(), { issuer, slot: { distributionPoint: undefined } }))];
  });
  const tbsOctets = tbsCrlOctets(issuer, plan);
  const { head, tail } = crlFrame(tbsOctets, signatureAlgorithm(key.algorithm), signature);
  if (head.length !== headRoom) throw new Error(`the head has ${head.length} octets`);
  await file.write(tail, 0, tail.length, headRoom + tbsOctets);
  await file.write(head, 0, head.length, 0);
  await file.datasync();
  return headRoom + tbsOctets + tail.length;
}

/** Octets of the outer head of any list between 16 MB and 4 GB. */
const headRoom = 6;
