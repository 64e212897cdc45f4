import { Fault } from "../fault.ts";

/**
 * The octets that `text` encodes in base64url without padding. Taken is only what an encoder writes: no `=`, `+`, `/`, blanks or line
 * breaks, and the bits that encode nothing are zero, so that two texts are never one value.
 * @param what how a fault names the value, as the subject of a sentence ("the payload").
 * @throws Fault `malformed`
 * @see RFC 7515 §2, RFC 4648 §3.5 and §5, RFC 8555 §6.1
 */
export function decodeBase64url(text: string, what: string): Uint8Array<ArrayBuffer> {
  const octets = Buffer.from(text, "base64url");
  // Node skips characters that it does not know, and takes the other alphabet, padding and spare bits: only a text that comes back is one.
  if (octets.toString("base64url") !== text) throw new Fault("malformed", `${what} is not base64url without padding (RFC 7515 §2)`);
  return new Uint8Array(octets);
}

/** base64url of `octets`, without padding. @see RFC 7515 §2 */
export function encodeBase64url(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString("base64url");
}
