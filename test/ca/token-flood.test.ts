import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { readResponderKey } from "../../src/ca/responder-key.ts";
import { type CrlGround, crlGround, issueLeaf, standing } from "../support/crl-world.ts";

let ground: CrlGround;
beforeAll(async () => {
  ground = await crlGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

/** More calls than the token lets wait: whoever is answered or refused asks again. */
const askers = 2_200;

test("while more OCSP answers are asked of the token than may wait, certificates are issued and CRLs published (PK-28)", async () => {
  const { ca, clock } = ground;
  const key = (await readResponderKey(ca.database, "issuing-1"))?.reference;
  if (!key) throw new Error("there is no responder's key");
  let refused = 0;
  const flooding = new AbortController();
  const flood = Array.from({ length: askers }, async (_, index) => {
    const text = Buffer.from(`chancery binding\n${index}\n`);
    while (!flooding.signal.aborted) {
      await ca.hsm.sign(key, "binding", text, "status").catch(() => void (refused += 1));
      await setImmediate();
    }
  });
  try {
    await expect.poll(() => refused, { timeout: 30_000 }).toBeGreaterThan(0);
    const { number } = await standing(ca);
    clock.aheadSeconds += 2;
    for (let index = 0; index < 5; index += 1) expect((await issueLeaf(ca)).serial).toMatch(/^[0-9a-f]{32}$/);
    expect((await publishCrl(ca, "issuing-1"))?.number).toBeGreaterThan(number);
  } finally {
    flooding.abort();
    await Promise.all(flood);
  }
}, 60_000);
