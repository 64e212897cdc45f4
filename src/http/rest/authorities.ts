import type { Authority } from "../../ca/authority.ts";
import { encodePem } from "../../pki/pem.ts";
import { route } from "./route.ts";
import { rfc3339 } from "./time.ts";

/** GET /v1/authorities: who signs, with the certificates that a verifier needs. */
export const authoritiesRoute = route({
  method: "GET",
  path: "/v1/authorities",
  action: "authority:read",
  handle: (doors) => ({ json: { authorities: doors.authorities().map(listed) } }),
});

function listed({ slug, kind, issuerSlug, certificate, chain, parsed }: Authority) {
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
  };
}
