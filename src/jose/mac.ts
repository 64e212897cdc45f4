import { createHmac, timingSafeEqual } from "node:crypto";
import { Fault } from "../fault.ts";
import type { Jws } from "./jws.ts";

/** Names of MAC algorithms that are taken for external account binding. @see RFC 7518 §3.2, RFC 8555 §7.3.4 */
export const macAlgorithms = ["HS256", "HS384", "HS512"] as const;
/** One of `macAlgorithms`. */
export type MacAlgorithm = (typeof macAlgorithms)[number];

/**
 * `alg` as one of `macAlgorithms`.
 * @throws Fault `malformed`
 */
export function requireMacAlgorithm(alg: string): MacAlgorithm {
  const known = macAlgorithms.find((name) => name === alg);
  if (known === undefined) throw new Fault("malformed", `the algorithm is not one of ${macAlgorithms.join(", ")}`);
  return known;
}

/**
 * Whether the MAC of `jws` was made with `macKey`, in a time that depends on neither of the two. False also for a key that is shorter
 * than the hash: RFC 7518 §3.2 wants 32 octets for HS256, 48 for HS384, 64 for HS512.
 * @throws Fault `malformed` for another algorithm.
 */
export function verifyMac(jws: Jws, macKey: Uint8Array): boolean {
  const mac = createHmac(hashes[requireMacAlgorithm(jws.protected.alg)], macKey).update(jws.signingInput).digest();
  return macKey.length >= mac.length && jws.signature.length === mac.length && timingSafeEqual(jws.signature, mac);
}

const hashes = { HS256: "sha256", HS384: "sha384", HS512: "sha512" } as const;
