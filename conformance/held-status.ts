import { isDeepStrictEqual } from "node:util";
import { setTimeout as pause } from "node:timers/promises";
import { runningEmbedded } from "../src/database/embedded.ts";
import { holdEmitted } from "../test/support/emitted-status.ts";
import { administer } from "../test/support/server.ts";
import { certId, ocspRequest, readSaidOcsp, type StatusIssuer } from "../test/support/status-bytes.ts";
import { readTables, type Row } from "../test/support/status-tables.ts";
import type { Service } from "./service.ts";

/** A revocation shows within a second in what was kept (XO-17). */
const patienceMs = 5_000;

/**
 * Holds what a running service says of its certificates' status against its tables, by the eyes of the tests: the CRLs that it published, and an
 * OCSP answer about each certificate.
 * @throws Error with what does not hold, in sentences.
 */
export async function holdStatus(service: Service): Promise<void> {
  const url = service.environment["DATABASE_URL"] ?? (await runningEmbedded(service.dataDirectory));
  if (url === undefined) throw new Error("the service has no database any more: what it said cannot be judged");
  await holdEmitted(url, { responses: [], planted: false });
  for (let waitedMs = 0; ; waitedMs += 500) {
    const broken = await brokenAnswers(service, url);
    if (broken.length === 0) return;
    if (waitedMs >= patienceMs)
      throw new Error(`OCSP says otherwise than the tables (${broken.length}):\n${broken.slice(0, 20).join("\n")}`);
    await pause(500);
  }
}

async function brokenAnswers({ statusUrl }: Service, databaseUrl: string): Promise<string[]> {
  const { issuers, kinds, rows } = await administer(databaseUrl, readTables);
  const broken: string[] = [];
  for (const [slug, issuer] of issuers) {
    if (kinds.get(slug) !== "issuing") continue;
    for (const row of rows.get(slug) ?? []) {
      const sentence = await brokenAnswer(`${statusUrl}/ocsp/${slug}`, issuer, row);
      if (sentence) broken.push(`${slug}, ${row.serial}: ${sentence}`);
    }
  }
  return broken;
}

async function brokenAnswer(url: string, issuer: StatusIssuer, { serial, said }: Row): Promise<string | undefined> {
  const asked = certId(issuer, serial, "sha256");
  const response = await fetch(`${url}/${encodeURIComponent(ocspRequest([asked]).toString("base64"))}`);
  const { error, faults, statuses } = readSaidOcsp(new Uint8Array(await response.arrayBuffer()), issuer);
  // What is open is answered by nobody.
  if (said === undefined) return error === 6 ? undefined : `it is open, and the answer is ${error}`;
  if (error !== 0) return `the answer is the error ${error}`;
  const answer = statuses.get(asked.toString("hex"));
  if (!isDeepStrictEqual(answer, said)) return `the answer is ${JSON.stringify(answer)}, in the table stands ${JSON.stringify(said)}`;
  return faults[0];
}
