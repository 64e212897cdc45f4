import { join } from "node:path";
import { expect, test } from "vitest";
import { evaluationPlan, initialise } from "../../../src/initialise.ts";
import { opensslCrl } from "../../support/crl-world.ts";
import { opensslOcspRequest, opensslOcspVerdict, postOcsp } from "../../support/ocsp.ts";
import { freshGround, opensslRequest, startService } from "../../support/service.ts";
import { exchange } from "../exchange.ts";

test.for(["RSA-2048", "P-384"] as const)(
  "an issuing authority with a key of %s: openssl verifies the OCSP response of its responder and its CRL, before and after a revocation",
  { timeout: 60_000 },
  async (issuingKeyAlgorithm) => {
    await using ground = await freshGround();
    await initialise(ground.config, { ...evaluationPlan, issuingKeyAlgorithm });
    await using chancery = await startService({}, ground);
    const { service, ask } = chancery;
    const { csr } = await opensslRequest("key.example.org");
    const issued = await ask("/v1/certificates", { body: { csr, profile: "server" } });
    expect([issued.status, service.ca.authorities.get("issuing-1")?.key.algorithm]).toEqual([201, issuingKeyAlgorithm]);
    const serial = String(issued.json()["serial"]);
    const files = { issuer: join(ground.directory, "chain.pem"), root: join(ground.directory, "root.pem") };
    const verdict = async () =>
      await opensslOcspVerdict((await postOcsp(service, await opensslOcspRequest({ serials: [serial], ...files }))).body, {
        serials: [serial],
        ...files,
      });
    const crl = async () => await opensslCrl((await exchange(service.listeners.status, { path: "/crl/issuing-1.crl" })).body, files.issuer);
    expect(await verdict()).toMatchObject({ verified: true, statuses: ["good"] });
    expect(await crl()).toMatchObject({ verified: true, serials: [] });

    expect((await ask(`/v1/certificates/${serial}/revoke`, { body: { reason: "superseded" } })).status).toBe(200);
    await expect.poll(verdict, { timeout: 30_000, interval: 500 }).toMatchObject({ verified: true, statuses: ["revoked"] });
    await expect.poll(crl, { timeout: 30_000, interval: 500 }).toMatchObject({ verified: true, serials: [serial] });
  },
);
