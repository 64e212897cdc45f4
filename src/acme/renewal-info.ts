import { readStoredCertificate } from "../ca/certificates.ts";
import { listRunningCampaigns } from "../ca/mass-revocation-store.ts";
import { renewalWindow, type RenewalWindow } from "../ca/renewal-window.ts";
import { Fault } from "../fault.ts";
import type { Acme } from "./acme.ts";
import { parseCertificateId } from "./certificate-id.ts";

/** When to renew a certificate, and when to ask again. @see RFC 9773 §4.2, §4.3 */
export type RenewalInfo = { readonly window: RenewalWindow; readonly retryAfterSeconds: number };

const usualSeconds = 21_600;
/** The least that clients go by. */
const emergencySeconds = 3_600;

/**
 * The renewal information of a certificate; anybody may ask. Clients are to ask again sooner while its window may move, or has moved: it is
 * revoked, or certificates are being revoked by a filter, or nothing is issued.
 * @throws Fault `malformed` for a certID that is none, or of an authority that is not ours; `notFound` for a serial that is not.
 */
export async function renewalInfo(acme: Acme, certificateId: string): Promise<RenewalInfo> {
  const { authority, serial } = parseCertificateId(acme, certificateId);
  if (authority === undefined) throw new Fault("malformed", "the key identifier of the certID is of no authority here");
  const certificate = await readStoredCertificate(acme.ca, authority, serial);
  if (!certificate) throw new Fault("notFound", "no certificate here has the serial number of the certID");
  const revoked = certificate.status === "revoked";
  const retryAfterSeconds = revoked || (await isEmergency(acme, authority)) ? emergencySeconds : usualSeconds;
  return { window: renewalWindow({ ...certificate, revoked }, acme.clock.now()), retryAfterSeconds };
}

async function isEmergency({ ca: { halt, database } }: Acme, authority: string): Promise<boolean> {
  if ((await halt.current()) || halt.revoked().includes(authority)) return true;
  return (await database.read(listRunningCampaigns)).length > 0;
}
