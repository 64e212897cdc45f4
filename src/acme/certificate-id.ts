import { Fault } from "../fault.ts";
import { decodeBase64url } from "../jose/base64url.ts";
import { keyIdentifier } from "../pki/certificate.ts";
import type { Acme } from "./acme.ts";

/** What a certID names: the authority that has its key identifier, undefined where none of ours does, and the serial's octets. */
export type CertificateId = { readonly authority: string | undefined; readonly serial: Uint8Array };

/**
 * Reads a certID: AKI keyIdentifier and serial number, as their octets stand in the certificate, each in base64url, with a full stop between.
 * @throws Fault `malformed` when it is none.
 * @see RFC 9773 §4.1
 */
export function parseCertificateId({ ca }: Acme, text: string): CertificateId {
  const parts = text.split(".");
  const [aki = "", serial = ""] = parts;
  if (parts.length !== 2 || aki === "" || serial === "") {
    throw new Fault("malformed", "the certID is not two texts in base64url with a full stop between (RFC 9773 §4.1)");
  }
  const identifier = Buffer.from(decodeBase64url(aki, "the key identifier of the certID"));
  const found = [...ca.authorities.values()].find(({ verificationKey }) => identifier.equals(keyIdentifier(verificationKey.spki)));
  return { authority: found?.slug, serial: decodeBase64url(serial, "the serial number of the certID") };
}
