import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { responderProblem } from "../../src/ca/ocsp.ts";
import type { Database } from "../../src/database/connect.ts";
import { movedClock } from "../support/clock.ts";
import { issuancePoints } from "../support/failpoints.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { issuedSerial, opensslOcspRequest, opensslOcspVerdict, postOcsp } from "../support/ocsp.ts";
import { rounds } from "../support/rounds.ts";
import { type Ground, standingGround, startService } from "../support/service.ts";

/** Longer than half of the life of a responder's certificate, which a start therefore renews. */
const stepSeconds = 16 * 86_400;

/** Of six points. */
const killsOfPoint = rounds(1, 4);

async function certificates(database: Database): Promise<number> {
  const rows = await database.read((sql) => sql`select from certificate where profile = 'ocsp-responder' and certificate is not null`);
  return rows.length;
}

describe("the process is killed (SIGKILL) at each step of the renewal of a responder's certificate (T-CRASH)", () => {
  let ground: Ground;
  let aheadSeconds = 0;
  beforeAll(async () => {
    ground = await standingGround();
    await using chancery = await startService({}, ground);
    expect(responderProblem(chancery.service.ocsp)).toBeUndefined();
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  test.for(issuancePoints)("%s: the next start ends with one certificate more, and answers with it", async (point) => {
    for (let kill = 1; kill <= killsOfPoint; kill += 1) {
      aheadSeconds += stepSeconds;
      const child = fork(join(import.meta.dirname, "responder-child.ts"), [point, String(aheadSeconds)], {
        env: { ...process.env, ...ground.env },
        execArgv: [],
      });
      expect((await once(child, "exit"))[1]).toBe("SIGKILL");

      await using chancery = await startService({ clock: movedClock(aheadSeconds) }, ground);
      const { ca, ocsp } = chancery.service;
      const renewals = aheadSeconds / stepSeconds;
      // The first one is from the start before all kills.
      expect(await certificates(ca.database)).toBe(renewals + 1);
      expect(responderProblem(ocsp)).toBeUndefined();
      expect(await ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);

      const serials = [await issuedSerial(chancery.service)];
      const files = { issuer: join(ground.directory, "chain.pem"), root: join(ground.directory, "root.pem") };
      const { body } = await postOcsp(chancery.service, await opensslOcspRequest({ serials, issuer: files.issuer }));
      const { text } = await opensslOcspVerdict(body, { serials, ...files });
      expect(text).toContain("Cert Status: good");
      const { certificate } = ocsp.responders.get("issuing-1") ?? {};
      expect(body.includes(Buffer.from(certificate?.der ?? []))).toBe(true);
    }
  });
});
