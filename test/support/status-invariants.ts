import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Service } from "../../src/app.ts";
import type { Clock } from "../../src/ports/clock.ts";
import { exchange, type Received, type Sent } from "../http/exchange.ts";
import { brokenCrl, hourMs, shown, toleranceMs } from "./crl-invariants.ts";
import { certId, ocspRequest, readSaidCrl, readSaidOcsp, type SaidCrl, type SaidOcsp, type SaidStatus } from "./status-bytes.ts";
import { brokenPublications, readBehind, readTables, type Row, type Tables } from "./status-tables.ts";

/** The instances of a service over one database, and how their status listeners are asked. */
export type StatusWorld = {
  readonly services: readonly Service[];
  /** Instead of the instance's own listener. */
  readonly ask?: (instance: number, sent: Sent) => Promise<Received>;
  /** Certificates that each instance is asked for alone, by GET and POST, SHA-1 and SHA-256; the others are asked for in batches. */
  readonly alone?: number;
};

/** Looks at a service again and again, and remembers what it saw: what came later may not be older. */
export type StatusWitness = {
  /**
   * Has whatever is due done, and then everything that the instances say of certificates read by pkijs and held against the tables, against each
   * other and against what was seen before. Nothing may be recorded meanwhile. @returns what does not hold, in sentences.
   */
  readonly look: () => Promise<string[]>;
  /** As `look`, without anything being done first. */
  readonly lookOnly: () => Promise<string[]>;
};

/** What must hold of every CRL and OCSP response that the instances give, once nothing is under way. */
export async function brokenStatus(...services: readonly Service[]): Promise<string[]> {
  return await statusWitness({ services, alone: 4 }).look();
}

export function statusWitness({ services, ask = byListener(services), alone = 6 }: StatusWorld): StatusWitness {
  const memory: Memory = { crls: new Map(), answers: new Map() };
  const lookOnly = async (): Promise<string[]> => {
    const [first] = services;
    if (!first) throw new Error("no instance was named");
    const tables = await first.ca.database.read(readTables);
    const broken = await first.ca.database.read(brokenPublications);
    for (const [instance] of services.entries()) {
      const { clock } = first.ca;
      // Each serial number is asked for in a batch by both hashes, where there is more than one instance.
      const batchHash = instance % 2 === 0 ? "sha1" : "sha256";
      const name = `instance ${instance + 1}`;
      const one: Instance = { tables, memory, clock, alone, batchHash, name, ask: (sent) => ask(instance, sent) };
      const crls = await seenCrls(one, broken);
      for (const slug of tables.issuers.keys()) {
        if (tables.kinds.get(slug) !== "issuing") continue;
        const answers = await seenAnswers(one, slug, broken);
        disagreements(one, { slug, crls, answers, broken });
      }
    }
    return broken.length <= mostSentences ? broken : [...broken.slice(0, mostSentences), `and ${broken.length - mostSentences} more`];
  };
  return {
    lookOnly,
    look: async () => {
      await settled(services);
      return await lookOnly();
    },
  };
}

const mostSentences = 30;

const byListener =
  (services: readonly Service[]) =>
  (instance: number, sent: Sent): Promise<Received> => {
    const service = services[instance];
    if (!service) throw new Error(`there is no instance ${instance}`);
    return exchange(service.listeners.status, sent);
  };

/** Whatever is due is published, and every instance has taken note of it. */
async function settled(services: readonly Service[]): Promise<void> {
  const jobs = (name: string) =>
    Promise.all(services.map(({ jobs: all }) => all.find((job) => job.name === name)?.act(new AbortController().signal)));
  // No two CRLs of a slot bear the same second: what came in the second of the last one waits for the next.
  for (let tries = 0; ; tries++) {
    await jobs("crl").catch((error: unknown) => {
      if (tries === mostTries) throw error;
    });
    const due = await services[0]?.ca.database.read(readBehind);
    if (due?.length === 0) break;
    if (tries === mostTries) throw new Error(`nobody publishes the CRLs ${due?.join(", ")}`);
    await pause(200);
  }
  await jobs("crl directory");
  await jobs("status feed");
}

const mostTries = 150;

type Memory = {
  /** What an instance served last of a slot. */
  readonly crls: Map<string, Pick<SaidCrl, "number" | "thisUpdate"> & { readonly body: Buffer }>;
  /** thisUpdate of the answer that an instance gave last to a GET. */
  readonly answers: Map<string, Date>;
};

type Instance = {
  readonly name: string;
  readonly tables: Tables;
  readonly memory: Memory;
  readonly clock: Clock;
  readonly alone: number;
  readonly batchHash: "sha1" | "sha256";
  readonly ask: (sent: Sent) => Promise<Received>;
};

/** The CRL of every slot as the instance serves it, by path. */
async function seenCrls(one: Instance, broken: string[]): Promise<ReadonlyMap<string, SaidCrl>> {
  const { tables, memory, name } = one;
  const seen = new Map<string, SaidCrl>();
  for (const slot of tables.slots) {
    const { status, body } = await one.ask({ path: `/crl/${slot.path}.crl` });
    const issuer = tables.issuers.get(slot.authority);
    if (status !== 200 || !issuer) {
      broken.push(`${name} answers ${status} for the CRL ${slot.path}`);
      continue;
    }
    const crl = readSaidCrl(body, issuer);
    seen.set(slot.path, crl);
    for (const sentence of brokenCrl({ tables, now: one.clock.now() }, slot, crl)) broken.push(`${name}, CRL ${slot.path}: ${sentence}`);
    const place = `${name} ${slot.path}`;
    const last = memory.crls.get(place);
    memory.crls.set(place, { number: crl.number, thisUpdate: crl.thisUpdate, body });
    if (!last || last.body.equals(body)) continue;
    if (crl.number <= last.number) broken.push(`${place}: number ${crl.number} is served behind ${last.number} (XC-14)`);
    if (crl.thisUpdate <= last.thisUpdate) broken.push(`${place}: thisUpdate does not go on (XC-18)`);
  }
  return seen;
}

/** What the instance answers for every serial number of an authority, by serial number; undefined where it is not authorized to. */
async function seenAnswers(one: Instance, slug: string, broken: string[]): Promise<ReadonlyMap<string, SaidStatus | undefined>> {
  const { tables, name, alone } = one;
  const rows = tables.rows.get(slug) ?? [];
  const answered = rows.filter(({ said }) => said);
  const siblings = [...tables.rows].filter(([other]) => other !== slug).flatMap(([, others]) => others);
  const foreign = [...siblings.slice(0, 5).map(({ serial }) => serial), ...Array.from({ length: 5 }, () => unassigned())];
  // One that was never issued would leave all of its batch without an answer.
  const questions: Question[] = batches(answered).map((serials) => ({ slug, serials, hash: one.batchHash, method: "POST" }));
  for (const hash of ["sha1", "sha256"] as const) {
    for (const method of ["GET", "POST"] as const) {
      const single = [...spread(answered, alone), ...rows.filter(({ said }) => !said).slice(0, 5)].map(({ serial }) => serial);
      for (const serial of [...single, ...foreign]) questions.push({ slug, serials: [serial], hash, method });
    }
  }
  const expected = new Map(rows.map(({ serial, said }) => [serial, said]));
  const seen = new Map<string, SaidStatus | undefined>();
  await manyAtOnce(questions, async (question) => {
    const { serials, hash, method } = question;
    const answer = await asked(one, question);
    const about = `${name}, OCSP by ${method} and ${hash} for ${serials.length === 1 ? serials[0] : `${serials.length} certificates`}`;
    for (const sentence of brokenAnswer(one, question, answer)) broken.push(`${about}: ${sentence}`);
    for (const serial of serials) {
      const said = answer.statuses.get(certIdOf(one, question, serial));
      if (!isDeepStrictEqual(said, expected.get(serial))) {
        const rule = said?.status === "good" && !expected.get(serial) ? "XO-5" : "XC-6";
        broken.push(`${about}: ${serial} is ${shown(said)}, in the table ${shown(expected.get(serial))} (${rule})`);
      }
      seen.set(serial, said);
    }
  });
  return seen;
}

/** @param serials of one authority, ten at most. */
type Question = {
  readonly slug: string;
  readonly serials: readonly string[];
  readonly hash: "sha1" | "sha256";
  readonly method: "GET" | "POST";
};

function certIdOf({ tables }: Instance, { slug, hash }: Question, serial: string): string {
  const issuer = tables.issuers.get(slug);
  if (!issuer) throw new Error(`there is no authority ${slug}`);
  return certId(issuer, serial, hash).toString("hex");
}

async function asked(one: Instance, question: Question): Promise<SaidOcsp> {
  const { slug, serials, method } = question;
  const issuer = one.tables.issuers.get(slug);
  if (!issuer) throw new Error(`there is no authority ${slug}`);
  const request = ocspRequest(serials.map((serial) => Buffer.from(certIdOf(one, question, serial), "hex")));
  const path = `/ocsp/${slug}`;
  const headers = { "content-type": "application/ocsp-request" };
  const sent =
    method === "POST"
      ? { method, path, headers, body: request }
      : { method, path: `${path}/${encodeURIComponent(request.toString("base64"))}` };
  return readSaidOcsp((await one.ask(sent)).body, issuer);
}

function* brokenAnswer({ memory, name, clock }: Instance, question: Question, answer: SaidOcsp): Generator<string> {
  const now = clock.now();
  const { error, thisUpdate, nextUpdate, responderNotAfter, faults, statuses } = answer;
  if (error !== 0) {
    // unauthorized: what is not to be refused is found missing.
    if (error !== 6) yield `it is refused with ${error}`;
    return;
  }
  yield* faults;
  const life = nextUpdate.getTime() - thisUpdate.getTime();
  const age = now.getTime() - thisUpdate.getTime();
  if (!(life > 0 && life <= 24 * hourMs)) yield `it lasts ${life / hourMs} hours (XO-11)`;
  if (life !== 24 * hourMs && nextUpdate.getTime() !== responderNotAfter.getTime()) yield `it ends early (XO-11)`;
  if (nextUpdate > responderNotAfter) yield "it ends behind its responder's certificate (XO-13)";
  if (age < -toleranceMs) yield "its thisUpdate lies ahead (XO-10)";
  if (age > 12 * hourMs + toleranceMs || nextUpdate <= now) yield `it is ${age / hourMs} hours old (XO-11)`;
  if (thisUpdate.getMilliseconds() + nextUpdate.getMilliseconds() !== 0) yield "its times have fractions of a second (XO-10)";
  if (statuses.size !== question.serials.length) yield `it answers ${statuses.size} of ${question.serials.length}`;
  if (question.method !== "GET") return;
  const place = `${name} ${question.slug} ${question.hash} ${question.serials.join()}`;
  const last = memory.answers.get(place);
  memory.answers.set(place, thisUpdate);
  if (last && thisUpdate < last) yield `it is older than the one before, ${last.toISOString()} (XO-10)`;
}

/** XC-6 and XC-12: from the bytes alone, CRL and OCSP say the same, and the full CRL is its shards and what is in none. */
function disagreements(
  { tables, name }: Instance,
  {
    slug,
    crls,
    answers,
    broken,
  }: { slug: string; crls: ReadonlyMap<string, SaidCrl>; answers: ReadonlyMap<string, SaidStatus | undefined>; broken: string[] },
): void {
  const full = crls.get(slug);
  if (!full) return;
  const shards = new Map(
    tables.slots.flatMap(({ path, authority, shard }) => (authority === slug && shard !== undefined ? [[shard, crls.get(path)]] : [])),
  );
  for (const { serial, notAfter, shard } of tables.rows.get(slug) ?? []) {
    const entry = full.entries.get(serial);
    const answer = answers.get(serial);
    // Beyond its certificate's end an entry has left the CRL; OCSP goes on to say it.
    const over = notAfter < full.thisUpdate;
    if (!(over && !entry) && !isDeepStrictEqual(answer?.status === "good" ? undefined : answer, entry))
      broken.push(`${name}: of ${serial} OCSP says ${shown(answer)}, the CRL ${shown(entry)} (XC-6)`);
    if (shard === undefined || over) continue;
    const part = shards.get(shard)?.entries.get(serial);
    if (!isDeepStrictEqual(part, entry))
      broken.push(`${name}: of ${serial} shard ${shard} says ${shown(part)}, the full CRL ${shown(entry)} (XC-12)`);
  }
}

function unassigned(): string {
  const serial = randomBytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  return serial.toString("hex");
}

const batches = (rows: readonly Row[]): string[][] =>
  Array.from({ length: Math.ceil(rows.length / 10) }, (_, index) => rows.slice(index * 10, index * 10 + 10).map(({ serial }) => serial));

/** `count` of them, evenly from the whole. */
const spread = (rows: readonly Row[], count: number): readonly Row[] =>
  rows.length <= count
    ? rows
    : Array.from({ length: count }, (_, index) => rows[Math.floor((index * rows.length) / count)]).filter((row) => row !== undefined);

async function manyAtOnce<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const item of queue) await act(item);
    }),
  );
}
