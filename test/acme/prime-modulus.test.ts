import { createPrivateKey, getDiffieHellman } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Acme } from "../../src/acme/acme.ts";
import { changeKey } from "../../src/acme/change-key.ts";
import { finalize } from "../../src/acme/finalize.ts";
import { readOrder } from "../../src/acme/read-order.ts";
import { Fault } from "../../src/fault.ts";
import { encoded, type SigningKey, signingKey } from "../support/acme-client.ts";
import {
  type AccountWorld,
  accountUrl,
  accountWorld,
  asked,
  json,
  keyChange,
  keyChangeUrl,
  provenOrder,
  registered,
} from "./account-world.ts";

let world: AccountWorld;
beforeAll(async () => {
  world = await accountWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const refusedPrime = (code: string) => expect.objectContaining({ name: "Fault", code, detail: "the RSA modulus is a prime" });

/** The modulus is a prime (RFC 3526 §3), so that its private exponent is the inverse of 65537 modulo n − 1 (Fermat). */
function primeKey(): SigningKey {
  const modulus = getDiffieHellman("modp14").getPrime();
  const e = 65_537n;
  const order = BigInt(`0x${modulus.toString("hex")}`) - 1n;
  let k = 1n;
  while ((1n + k * order) % e !== 0n) k += 1n;
  const d = Buffer.from(((1n + k * order) / e).toString(16).padStart(512, "0"), "hex");
  const jwk = { kty: "RSA", n: encoded(modulus), e: "AQAB" };
  // Factors that are none: OpenSSL exponentiates with d then.
  const privateKey = createPrivateKey({ key: { ...jwk, d: encoded(d), p: "BQ", q: "Aw", dp: "AQ", dq: "AQ", qi: "Ag" }, format: "jwk" });
  return { alg: "RS256", privateKey, jwk };
}

const prime = primeKey();

/** An instance whose prime check has no place free. */
function crowded(acme: Acme): Acme {
  return { ...acme, ca: { ...acme.ca, modulusIsPrime: noPlace } };
}

function noPlace(): Promise<never> {
  return Promise.reject(new Fault("busy", "no place"));
}

test("newAccount with a prime modulus is badPublicKey (AJ-18)", async () => {
  await expect(asked(world.acme, world.directories.open, prime)).rejects.toEqual(refusedPrime("badPublicKey"));
});

test("newAccount judges no modulus for whoever lacks a binding, or is beyond the limit of its address (AN-3, AN-4)", async () => {
  const { directories } = world;
  const acme = crowded(world.acme);
  await expect(asked(acme, directories.bound, prime)).rejects.toMatchObject({ code: "externalAccountRequired" });
  const outcomes: string[] = [];
  for (let tries = 0; tries < 5; tries++) {
    const outcome = asked(acme, directories.limited, prime, { address: "192.0.2.77" });
    outcomes.push(
      await outcome.then(
        () => "created",
        (error: unknown) => (error instanceof Fault ? error.code : "failed"),
      ),
    );
  }
  // Three may be asked for from one address.
  expect(outcomes).toEqual(["busy", "busy", "busy", "rateLimited", "rateLimited"]);
});

test("a key that is no RSA key never waits for the check", async () => {
  const acme = crowded(world.acme);
  for (const alg of ["ES256", "EdDSA"] as const) {
    expect(await asked(acme, world.directories.open, signingKey(alg))).toMatchObject({ created: true });
  }
});

test("keyChange to a prime modulus is badPublicKey, behind the consent of its inner JWS (AA-32)", async () => {
  const mine = await registered(world.acme, world.directories.open);
  const change = (payload: object = {}) =>
    changeKey(world.acme, mine.account, {
      payload: keyChange(mine, prime, { payload }),
      url: keyChangeUrl,
      accountUrl: accountUrl(mine.account),
      requestId: "request-3",
    });
  await expect(change()).rejects.toEqual(refusedPrime("badPublicKey"));
  await expect(change({ account: "https://ca.example/acme/acct/other" })).rejects.toMatchObject({ code: "malformed" });
});

/** A request for a.example.org whose key has a prime modulus. */
const { der } = JSON.parse(readFileSync(new URL("../vectors/csr/prime-modulus.json", import.meta.url), "utf8")) as { der: string }; // our own committed file
const csr = encoded(Buffer.from(der, "base64"));

test("finalize with a prime modulus is badCSR and leaves the order ready; with other names than the order's nothing is judged (XK-2)", async () => {
  const { acme, directories } = world;
  const { account } = await registered(acme, directories.open);
  const order = await provenOrder(acme, directories.open, account, ["a.example.org"]);
  await expect(finalize(acme, account, order.id, json({ csr }), "request-4")).rejects.toEqual(refusedPrime("badCSR"));
  await expect(finalize(crowded(acme), account, order.id, json({ csr }), "request-5")).rejects.toMatchObject({ code: "busy" });
  expect((await readOrder(acme, account, order.id))?.status).toBe("ready");
  const other = await provenOrder(acme, directories.open, account, ["b.example.org"]);
  const refused = { code: "badCSR", detail: "the names of the CSR are not those of the order" };
  await expect(finalize(crowded(acme), account, other.id, json({ csr }), "request-6")).rejects.toMatchObject(refused);
});
