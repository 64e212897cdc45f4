import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { Fault } from "../fault.ts";
import { bitLength, publicNumbers, spkiSha256 } from "./algorithm.ts";
import { publishedIn } from "./published-keys.ts";

/**
 * Why we do not certify this SubjectPublicKeyInfo: one sentence for each rule that it breaks, none for a good key. Numbers only: no
 * library sees a key before this has judged it. What takes a modular exponentiation, `modulusIsPrime`, is asked apart.
 *
 * RSA: 2048 to 4096 bits, a multiple of 8; exponent 65537; no factor below 752, no close primes (Fermat, 110 rounds), no ROCA
 * fingerprint. EC: P-256 or P-384 by name, uncompressed, on the curve. No key that is printed in a standard.
 * @see RFC 5480 §2.2, SEC 1 §3.2.2.1, CVE-2017-15361, CVE-2022-26320
 */
export function keyViolations(spki: Uint8Array): string[] {
  try {
    const numbers = publicNumbers(spki);
    const broken = "curve" in numbers ? pointViolations(numbers.curve, numbers.point) : rsaViolations(numbers.modulus, numbers.exponent);
    const source = publishedIn(spkiSha256(spki));
    return source === undefined ? broken : [...broken, `the private key is published in ${source}`];
  } catch (error) {
    if (error instanceof Fault) return [error.detail];
    throw error;
  }
}

/**
 * Whether the modulus of an RSA key of up to 8192 bits is a prime, so that its private key follows from the public one; false for EC
 * keys. Asked only of keys without `keyViolations`. Takes one modular exponentiation off the event loop, the same for every modulus of a size.
 *
 * It derives the private key that a prime modulus would have, d = e⁻¹ mod (n − 1), and sees whether a signature of that key verifies: for
 * a prime always (Fermat), for a product of two large primes never. `checkPrime` would take 64 to 128 exponentiations for a prime.
 * @throws Fault `malformed`
 */
export async function modulusIsPrime(spki: Uint8Array): Promise<boolean> {
  const numbers = publicNumbers(spki);
  if ("curve" in numbers) return false;
  const { e, d } = exponentsOfPrime(integer(numbers.modulus));
  const key = { kty: "RSA", n: base64url(integer(numbers.modulus)), e: base64url(BigInt(e)) };
  // The factors 5 and 3 are false, of course: OpenSSL sees that they give no e-th root and exponentiates with d modulo n instead.
  const halves = { p: base64url(5n), q: base64url(3n), dp: base64url(1n), dq: base64url(1n), qi: base64url(2n) };
  const derived = createPrivateKey({ key: { ...key, ...halves, d: base64url(d) }, format: "jwk" });
  const message = Buffer.from("prime");
  return verify("sha256", message, createPublicKey({ key, format: "jwk" }), await signed(message, derived));
}

function signed(message: Uint8Array, key: KeyObject): Promise<Uint8Array> {
  return new Promise((resolve, reject) => sign("sha256", message, key, (error, signature) => (error ? reject(error) : resolve(signature))));
}

// The product of these primes is above 2^8192, so at least one of them does not divide n − 1.
const exponents = primesBelow(5_900).slice(1);

// The smallest odd prime e that does not divide n − 1, and d = (1 + k(n − 1)) / e for the k that makes it whole.
function exponentsOfPrime(n: bigint): { readonly e: number; readonly d: bigint } {
  const order = n - 1n;
  for (const e of exponents) {
    const rest = Number(order % BigInt(e));
    if (rest === 0) continue;
    let k = 1;
    while ((1 + k * rest) % e !== 0) k += 1;
    return { e, d: (1n + BigInt(k) * order) / BigInt(e) };
  }
  throw new Fault("internal", "the modulus is longer than any that is judged here");
}

function base64url(number: bigint): string {
  const digits = number.toString(16);
  return Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, "hex").toString("base64url");
}

// SEC 2 §2.4.2, §2.5.1, §2.6.1: y² = x³ − 3x + b over the field of p elements; the cofactor is 1, so each point of the curve but infinity has order n.
const curveParameters = {
  "P-256": {
    octets: 32,
    p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  "P-384": {
    octets: 48,
    p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffffn,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
  "P-521": {
    octets: 66,
    p: 2n ** 521n - 1n,
    b: 0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
  },
} as const;

/**
 * Why we take no key with this point of an EC key: one sentence, or none. Good is an uncompressed point (0x04, X, Y) of the curve.
 * @see RFC 5480 §2.2, SEC 1 §3.2.2.1
 */
export function pointViolations(curve: "P-256" | "P-384" | "P-521", point: Uint8Array): string[] {
  const { octets, p, b } = curveParameters[curve];
  if (point.length === 1 && point[0] === 0) return ["the public key is the point at infinity"];
  if (point[0] === 2 || point[0] === 3) return ["the public key is a compressed point; only uncompressed ones are accepted"];
  if (point[0] !== 4 || point.length !== 1 + 2 * octets) return [`the public key is not an uncompressed point of ${curve}`];
  const x = integer(point.subarray(1, 1 + octets));
  const y = integer(point.subarray(1 + octets));
  if (x >= p || y >= p) return [`the public key has a coordinate that is not below the prime of ${curve}`];
  return (y * y - (x * x * x - 3n * x + b)) % p === 0n ? [] : [`the public key is not a point of ${curve}`];
}

/**
 * Why we take no RSA key with these numbers, each big-endian without leading zeros: one sentence for each rule that it breaks.
 * @param maximumBits of the modulus: a certificate's key has up to 4096.
 */
export function rsaViolations(modulus: Uint8Array, exponent: Uint8Array, maximumBits = 4096): string[] {
  const bits = bitLength(modulus);
  // Before any arithmetic: a modulus of 65,536 bits costs nothing but this.
  if (bits < 2048 || bits > maximumBits) return [`the RSA modulus has ${bits} bits; 2048 to ${maximumBits} are accepted`];
  const n = integer(modulus);
  const e = exponent.length <= 8 ? integer(exponent).toString() : `of ${bitLength(exponent)} bits`;
  const factor = smallFactor(n);
  // A multiple of the sieve's moduli would take a root in each round of the search for close primes; it is refused already.
  const close = factor === undefined && hasClosePrimes(n);
  return [
    ...(bits % 8 === 0 ? [] : [`the RSA modulus has ${bits} bits, which is no multiple of 8`]),
    ...(e === "65537" ? [] : [`the RSA exponent is ${e}; 65537 is accepted`]),
    ...(factor === undefined ? [] : [`the RSA modulus has the factor ${factor}`]),
    ...(close ? ["the primes of the RSA modulus are too close to each other"] : []),
    ...(isRoca(n) ? ["the RSA modulus has the ROCA fingerprint (CVE-2017-15361)"] : []),
  ];
}

function integer(octets: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(octets).toString("hex")}`);
}

const smallPrimes = primesBelow(752);

function primesBelow(limit: number): readonly number[] {
  const primes: number[] = [];
  for (let candidate = 2; candidate < limit; candidate++) if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  return primes;
}

// One division of the large number for each group of primes whose product a double holds exactly.
const primeGroups = smallPrimes.reduce<{ product: number; primes: number[] }[]>((groups, prime) => {
  const last = groups.at(-1);
  if (last !== undefined && last.product * prime <= Number.MAX_SAFE_INTEGER) {
    last.product *= prime;
    last.primes.push(prime);
  } else groups.push({ product: prime, primes: [prime] });
  return groups;
}, []);

function residues(n: bigint, primes: ReadonlySet<number>): ReadonlyMap<number, number> {
  const result = new Map<number, number>();
  for (const group of primeGroups) {
    if (!group.primes.some((prime) => primes.has(prime))) continue;
    const rest = Number(n % BigInt(group.product));
    for (const prime of group.primes) result.set(prime, rest % prime);
  }
  return result;
}

const allSmallPrimes: ReadonlySet<number> = new Set(smallPrimes);

function smallFactor(n: bigint): number | undefined {
  for (const [prime, rest] of residues(n, allSmallPrimes)) if (rest === 0) return prime;
  return undefined;
}

// CVE-2022-26320: primes generated next to each other. Finds every n = (a − d)(a + d) whose a is within 110 of √n; a square at once.
const fermatRounds = 110;

function hasClosePrimes(n: bigint): boolean {
  const root = squareRoot(n);
  const a = root * root < n ? root + 1n : root;
  const first = a * a - n;
  // (a + round)² − n modulo all of the sieve, from round to round: whoever brings the key waits for few long divisions, whatever its number is.
  let rest = Number(first % BigInt(sieveProduct));
  let step = Number((2n * a + 1n) % BigInt(sieveProduct));
  for (let round = 0; round < fermatRounds; round++) {
    if (mayBeSquare(rest) && isSquare(first + (2n * a + BigInt(round)) * BigInt(round))) return true;
    rest = (rest + step) % sieveProduct;
    step = (step + 2) % sieveProduct;
  }
  return false;
}

// Newton's method from above, begun with the root of the upper half: each step doubles the digits that are right.
function squareRoot(n: bigint): bigint {
  if (n < exactInteger) return BigInt(Math.floor(Math.sqrt(Number(n))));
  const shift = BigInt(n.toString(16).length);
  let root = (squareRoot(n >> (2n * shift)) + 1n) << shift;
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** Below it the root that a double has, rounded down, is the integer's. */
const exactInteger = 2n ** 52n;

// Residues rule out all but 1 in 5,000 non-squares before a root is taken.
const sieve = [64, 63, 65, 11, 17, 19, 23, 29, 31, 37].map((modulus) => ({
  modulus,
  squares: new Set(Array.from({ length: modulus }, (_, root) => (root * root) % modulus)),
}));
/** So small that sums of two residues are exact. */
const sieveProduct = sieve.reduce((product, { modulus }) => product * modulus, 1);

function mayBeSquare(rest: number): boolean {
  return sieve.every(({ modulus, squares }) => squares.has(rest % modulus));
}

function isSquare(number: bigint): boolean {
  const root = squareRoot(number);
  return root * root === number;
}

// CVE-2017-15361: such primes are k·M + (65537^a mod M), so n modulo each small prime lies in the group that 65537 generates.
const rocaGroups: ReadonlyMap<number, ReadonlySet<number>> = new Map(
  smallPrimes.filter((prime) => prime > 2 && prime <= 167).map((prime) => [prime, powersOf(65537 % prime, prime)]),
);
const rocaPrimes: ReadonlySet<number> = new Set(rocaGroups.keys());

function powersOf(base: number, prime: number): ReadonlySet<number> {
  const powers = new Set<number>([1]);
  for (let power = base; power !== 1; power = (power * base) % prime) powers.add(power);
  return powers;
}

function isRoca(n: bigint): boolean {
  for (const [prime, rest] of residues(n, rocaPrimes)) if (rocaGroups.get(prime)?.has(rest) === false) return false;
  return true;
}
