import { readStoredCertificate } from "../ca/certificates.ts";
import { renewalWindow } from "../ca/renewal-window.ts";
import { Fault } from "../fault.ts";
import { type Account, principalOf } from "./account.ts";
import type { Acme } from "./acme.ts";
import { type CertificateId, parseCertificateId } from "./certificate-id.ts";
import type { Identifier } from "./problem.ts";

/** The certificate that an order is to replace, and whether its renewal is due. */
export type Replacement = {
  readonly certificate: { readonly authority: string; readonly serial: Uint8Array; readonly notAfter: Date };
  readonly inWindow: boolean;
};

/**
 * What `replaces` of a newOrder names (RFC 9773 §5); undefined for a certificate of another service, which has no effect: the client came
 * from there. Whether another order replaces it already is decided when the order is recorded.
 * @throws Fault `malformed` for a certID that is none, for a certificate of another account, and for one that shares no identifier.
 */
export async function judgeReplacement(
  acme: Acme,
  account: Account,
  identifiers: readonly Identifier[],
  replaces: string,
): Promise<Replacement | undefined> {
  const { authority, serial } = namedBy(acme, replaces);
  const certificate = authority === undefined ? undefined : await readStoredCertificate(acme.ca, authority, serial);
  if (!certificate) return undefined;
  if (certificate.principal !== principalOf(account).id) {
    throw new Fault("malformed", "the certificate that replaces names was issued to another account");
  }
  const shared = certificate.names.some(({ type, value }) => identifiers.some((asked) => asked.type === type && asked.value === value));
  if (!shared) throw new Fault("malformed", "the certificate that replaces names has no identifier of the order");
  const now = acme.clock.now();
  const { start } = renewalWindow({ ...certificate, revoked: certificate.status === "revoked" }, now);
  return { certificate: { authority: certificate.authority, serial, notAfter: certificate.notAfter }, inWindow: start <= now };
}

/** Every refusal says `replaces`: by that word clients know that they may order again without it. */
function namedBy(acme: Acme, replaces: string): CertificateId {
  try {
    return parseCertificateId(acme, replaces);
  } catch (error) {
    throw error instanceof Fault ? new Fault(error.code, `replaces: ${error.detail}`, { cause: error }) : error;
  }
}
