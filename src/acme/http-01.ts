import { type ChallengeKind, unanswered, wrong } from "./challenge-kind.ts";

/** A key authorization has 87 octets; as many more as fit are white space behind it, as editors leave it. */
const longestBody = 128;

/** http-01: the key authorization under a well-known path of the host. @see RFC 8555 §8.3 */
export const http01: ChallengeKind = async (validator, { tenant, identifier, token, keyAuthorization }) => {
  const path = `/.well-known/acme-challenge/${token}`;
  const { evidence, ...outcome } = await validator.http({ tenant, host: identifier.value, path });
  if ("failure" in outcome) return unanswered(evidence, outcome.failure);
  const { status, body, truncated } = outcome.answer;
  // A URL that the host redirected to is an octet that it sent: administrators see it in the evidence, the applicant does not.
  const redirects = evidence.urls.length > 1 ? ` after ${evidence.urls.length - 1} redirects` : "";
  const where = `${identifier.value}${path}${redirects} (${evidence.address ?? "an address unknown"})`;
  if (status !== 200) return wrong(evidence, `${where} answered with status ${status} instead of 200`);
  if (truncated || body.length > longestBody) return wrong(evidence, `${where} answered with more than ${longestBody} octets`);
  const text = Buffer.from(body)
    .toString("latin1")
    .replace(/[ \t\r\n\v\f]+$/, "");
  if (text !== keyAuthorization) return wrong(evidence, `${where} answered with another text than the key authorization`);
  return { evidence, outcome: "valid" };
};
