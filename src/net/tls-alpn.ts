import { isIP } from "node:net";

import { ipOctets } from "../pki/ip-address.ts";
import type { TlsAlpnAnswer, TlsAlpnQuestion } from "../ports/validator.ts";
import { transient } from "./attempt.ts";
import type { Attempt, Probe } from "./attempt.ts";
import { handshake } from "./handshake.ts";
import { reach } from "./reach.ts";
import type { Outside } from "./reach.ts";

/**
 * The protocol and the certificate that `host` answers an offer of `acme-tls/1` with. Judging the certificate is the caller's.
 * @see RFC 8737 §3, RFC 8738 §6
 */
export async function shakeHands(
  outside: Outside,
  { host, port }: Pick<TlsAlpnQuestion, "host"> & { readonly port: number },
  probe: Probe,
): Promise<Attempt<TlsAlpnAnswer>> {
  const reached = await reach(outside, { host, port, called: host, deniedAs: isIP(host) ? "connection" : "dns" }, probe);
  if ("failure" in reached) return reached;
  using connection = reached.answer;
  const servername = isIP(host) ? reverseName(host) : host;
  const shaken = await handshake({ ...connection, servername, protocols: ["acme-tls/1"] }, probe.signal);
  if ("failure" in shaken) return shaken;
  const certificate = shaken.answer.getPeerX509Certificate()?.raw;
  if (!certificate) return transient("tls", `${connection.address} presented no certificate`);
  return { answer: { protocol: shaken.answer.alpnProtocol || undefined, certificate: Uint8Array.from(certificate) } };
}

/** The name under which an address stands in the reverse tree: what SNI carries for it. @see RFC 1035 §3.5, RFC 3596 §2.5 */
export function reverseName(address: string): string {
  const octets = [...(ipOctets(address) ?? [])];
  if (octets.length === 4) return `${octets.toReversed().join(".")}.in-addr.arpa`;
  const nibbles = octets.flatMap((octet) => [octet >> 4, octet & 0xf]);
  return `${nibbles
    .toReversed()
    .map((nibble) => nibble.toString(16))
    .join(".")}.ip6.arpa`;
}
