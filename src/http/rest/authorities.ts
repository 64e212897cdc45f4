import type { Authority } from "../../ca/authority.ts";
import type { ServedCrl } from "../../ca/served-crl.ts";
import { encodePem } from "../../pki/pem.ts";
import { route } from "./route.ts";
import { rfc3339 } from "./time.ts";

/** GET /v1/authorities: who signs, with the certificates that a verifier needs and the full CRL as it stands. */
export const authoritiesRoute = route({
  method: "GET",
  path: "/v1/authorities",
  action: "authority:read",
  handle: (doors) => ({ json: { authorities: doors.authorities().map((authority) => listed(authority, doors.crl(authority.slug))) } }),
});

function listed({ slug, kind, issuerSlug, certificate, chain, parsed }: Authority, crl: ServedCrl | undefined) {
  return {
    slug,
    kind,
    issuer: issuerSlug,
    subject: parsed.subjectText,
    keyAlgorithm: parsed.keyAlgorithm,
    notBefore: rfc3339(parsed.notBefore),
    notAfter: rfc3339(parsed.notAfter),
    spkiSha256: parsed.spkiSha256,
    certificate: encodePem("CERTIFICATE", certificate),
    chain: chain.map((der) => encodePem("CERTIFICATE", der)).join(""),
    ...(crl && {
      crl: {
        number: String(crl.number),
        thisUpdate: rfc3339(crl.thisUpdate),
        nextUpdate: rfc3339(crl.nextUpdate),
        entries: crl.entries,
      },
    }),
  };
}
