import { hex } from "./hex.ts";

/**
 * Why we take no key with this encoded point of edwards25519: one sentence for each rule that it breaks, none for a good one.
 * The point has its 32 octets, a y coordinate below p, an x that exists, and an order other than 1, 2, 4 and 8.
 * @see RFC 8032 §5.1.3, RFC 8410 §4
 */
export function ed25519Violations(point: Uint8Array): string[] {
  if (point.length !== 32) return [`the Ed25519 public key has ${point.length} octets, not 32`];
  const octets = Uint8Array.from(point).toReversed();
  // The highest bit is the sign of x.
  octets[0] = (octets[0] ?? 0) & 0x7f;
  const y = BigInt(`0x${hex(octets)}`);
  if (y >= p) return ["the Ed25519 public key has a coordinate that is not below the prime of the field"];
  // Whatever is signed verifies under such a key: each of them has one valid signature for all messages.
  if (lowOrder.has(hex(octets))) return ["the Ed25519 public key is a point of low order"];
  return hasX(y) ? [] : ["the public key is not a point of edwards25519"];
}

const p = 2n ** 255n - 19n;
// −121665/121666 (RFC 8032 §5.1)
const d = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n;

// x² = (y² − 1) / (d·y² + 1) has a root when numerator times denominator is a square (Euler's criterion).
function hasX(y: bigint): boolean {
  const square = (y * y) % p;
  return power((square - 1n + p) * (d * square + 1n), (p - 1n) / 2n) <= 1n;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = base % p, rest = exponent; rest > 0n; rest >>= 1n, square = (square * square) % p) {
    if ((rest & 1n) === 1n) result = (result * square) % p;
  }
  return result;
}

// The y of the eight points whose order divides the cofactor, big-endian: 0 (order 4), 1 and −1 (orders 1 and 2), and two of order 8.
const lowOrder: ReadonlySet<string> = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000001",
  "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
  "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
  "7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
]);
