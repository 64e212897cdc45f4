import { checkPrime, createECDH, createHash, generatePrimeSync, getDiffieHellman, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { keyAlgorithm, spkiFromEcPoint, spkiFromRsa, verificationKey } from "../../src/pki/algorithm.ts";
import { keyViolations, modulusIsPrime, rsaViolations } from "../../src/pki/key-policy.ts";
import { parseKeyList } from "../../src/pki/published-keys.ts";

function vectors<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), "utf8")) as T; // our own committed file
}

type BadKey = { readonly name: string; readonly detail: string; readonly spki: string };
const bad = vectors<BadKey[]>("keys/bad.json");

test.for(bad)("refuses a key: $name (XK-1, XK-2)", ({ spki, detail }) => {
  expect(keyViolations(Buffer.from(spki, "hex")).join("; ")).toContain(detail);
});

test("node:crypto alone would take some of them (TR-2)", () => {
  const taken = bad.filter(({ spki }) => {
    try {
      verificationKey(Buffer.from(spki, "hex"));
      return true;
    } catch {
      return false;
    }
  });
  expect(bad.length).toBeGreaterThanOrEqual(40);
  expect(taken.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["RSA, exponent 1", "RSA, modulus with the factor 3", "RSA, the next prime", "RSA, ROCA 2048"]),
  );
});

const published = vectors<{ source: string; spki: string }[]>("keys/published.json");

test.for(published)("refuses the key whose private half is printed in $source (XK-2)", ({ spki }) => {
  expect(keyViolations(Buffer.from(spki, "hex"))).toEqual([expect.stringMatching(/^the private key is published in (RFC|SEC) \d/)]);
});

test("a modulus that is a prime is told from one that is not", async () => {
  const prime = Buffer.from(vectors<{ spki: string }>("csr/prime-modulus.json").spki, "hex");
  expect(keyViolations(prime)).toEqual([]);
  expect(await modulusIsPrime(prime)).toBe(true);
  for (const { source, spki } of published) expect(await modulusIsPrime(Buffer.from(spki, "hex")), source).toBe(false);
});

test("a modulus with a small factor is refused for that alone: no close primes are looked for (XK-2)", () => {
  const root = 3n * ((1n << 1022n) + 1_000_003n);
  const spki = spkiFromRsa(Buffer.from((root * root).toString(16), "hex"), Uint8Array.of(1, 0, 1));
  expect(keyViolations(spki)).toEqual(["the RSA modulus has the factor 3"]);
});

// RFC 3526 §3, §4, §5
const groups = [
  { group: "modp14", bits: 2048 },
  { group: "modp15", bits: 3072 },
  { group: "modp16", bits: 4096 },
];

/** ⌊√n⌋, by bisection. */
function floorRoot(n: bigint): bigint {
  let [low, high] = [0n, 1n << BigInt(n.toString(16).length * 2 + 1)];
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle * middle <= n) low = middle;
    else high = middle;
  }
  return low;
}

const smallPrimes = Array.from({ length: 751 }, (_, index) => BigInt(index + 1)).filter((n) => n > 2n);
const hasSmallFactor = (n: bigint) => smallPrimes.some((prime) => n % prime === 0n);

/** A modulus whose factors lie so far apart that Fermat's method finds them in about that round, and the round itself. */
function closePrimes(bits: 2048 | 4096 | 8192, about: bigint): { modulus: Buffer; round: bigint } {
  for (;;) {
    const p = BigInt(`0x${randomBytes(bits / 16).toString("hex")}`) | (3n << BigInt(bits / 2 - 2)) | 1n;
    // (p + q)/2 lies d²/2p above the root of pq, where q = p + 2d.
    let q = p + 2n * floorRoot(2n * p * about);
    while (hasSmallFactor(q)) q += 2n;
    const n = p * q;
    if (hasSmallFactor(p) || n.toString(2).length !== bits) continue;
    const root = floorRoot(n);
    return { modulus: Buffer.from(n.toString(16), "hex"), round: (p + q) / 2n - (root * root < n ? root + 1n : root) };
  }
}

test.for([2048, 4096, 8192] as const)(
  "primes that Fermat's method finds in 110 rounds are too close, others are not: %i bits (XK-2)",
  (bits) => {
    const found = [0n, 1n, 20n, 60n, 100n, 105n, 120n, 150n, 1_000n].map((about) => closePrimes(bits, about));
    const exponent = Uint8Array.of(1, 0, 1);
    const close = "the primes of the RSA modulus are too close to each other";
    expect(found.map(({ modulus }) => rsaViolations(modulus, exponent, bits))).toEqual(
      found.map(({ round }) => (round < 110n ? [close] : [])),
    );
    expect(found.map(({ round }) => round < 110n)).toEqual([true, true, true, true, true, true, false, false, false]);
  },
);

test.for(groups)("a prime modulus of $bits bits is seen, and so is a modulus that is two away from it", async ({ group }) => {
  const prime = getDiffieHellman(group).getPrime();
  expect(await modulusIsPrime(spkiFromRsa(prime, Uint8Array.of(1, 0, 1)))).toBe(true);
  const other = Buffer.from((BigInt(`0x${prime.toString("hex")}`) - 2n).toString(16), "hex");
  expect(await modulusIsPrime(spkiFromRsa(other, Uint8Array.of(1, 0, 1)))).toBe(false);
});

test("eight prime moduli are refused before one primality test that began earlier has ended (XK-2)", async () => {
  const prime = getDiffieHellman("modp14").getPrime();
  const ended: string[] = [];
  const full = new Promise<void>((resolve) =>
    checkPrime(prime, () => {
      ended.push("full test");
      resolve();
    }),
  );
  const spki = spkiFromRsa(prime, Uint8Array.of(1, 0, 1));
  const judged = Array.from({ length: 8 }, async () => ended.push(String(await modulusIsPrime(spki))));
  await Promise.all([full, ...judged]);
  expect(ended).toEqual([...Array.from({ length: 8 }, () => "true"), "full test"]);
});

test("11,000 good keys are taken (XK-4)", () => {
  const points = (["P-256", "P-384"] as const).flatMap((curve) => {
    const ecdh = createECDH(curve === "P-256" ? "prime256v1" : "secp384r1");
    return Array.from({ length: curve === "P-256" ? 9900 : 100 }, (_, index) => {
      ecdh.setPrivateKey(createHash("sha256").update(`${curve} ${index}`).digest());
      return spkiFromEcPoint(curve, ecdh.getPublicKey());
    });
  });
  // 46 primes give 1,035 moduli.
  const primes = Array.from({ length: 46 }, () => generatePrimeSync(1024, { bigint: true }));
  const moduli = primes.flatMap((left, index) => primes.slice(index + 1).map((right) => Buffer.from((left * right).toString(16), "hex")));
  const rsa = moduli.map((modulus) => spkiFromRsa(modulus, Uint8Array.of(1, 0, 1)));
  const good = [...points, ...rsa];
  expect(good.length).toBeGreaterThan(11_000);
  expect(good.filter((spki) => keyViolations(spki).length > 0)).toEqual([]);
  expect(new Set(good.map(keyAlgorithm))).toEqual(new Set(["P-256", "P-384", "RSA-2048"]));
});

const line = `${"0a".repeat(32)} RFC 1`;

test.for([
  { name: "upper case", text: `${line.toUpperCase()}\n` },
  { name: "a hash that is too short", text: `${line.slice(2)}\n` },
  { name: "no source", text: `${line.slice(0, 64)}\n` },
  { name: "a comment", text: `# keys\n${line}\n` },
  { name: "a line twice", text: `${line}\n${line}\n` },
])("a list of keys with an unusable line stops the start: $name (IN-13, XK-2)", ({ text }) => {
  expect(() => parseKeyList(text)).toThrow(expect.objectContaining({ code: "refusedToStart" }));
});

test("a list of keys is read whole", () => {
  expect([...parseKeyList(`\n${line}\n${line.replaceAll("0a", "0b")}\n`)]).toEqual([
    ["0a".repeat(32), "RFC 1"],
    ["0b".repeat(32), "RFC 1"],
  ]);
});
