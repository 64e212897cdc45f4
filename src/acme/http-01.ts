import { type ChallengeKind, unanswered, wrong } from "./challenge-kind.ts";

/** A key authorization has 87 characters; so many more octets of white space behind it are a file as editors leave it. */
const longestBody = 128;

/** http-01: the key authorization under a well-known path of the host. @see RFC 8555 §8.3 */
export const http01: ChallengeKind = async (validator, { tenant, identifier, token, keyAuthorization }) => {
  const path = `/.well-known/acme-challenge/${token}`;
  const { evidence, ...outcome } = await validator.http({ tenant, host: identifier.value, path });
  if ("failure" in outcome) return unanswered(evidence, outcome.failure);
  const { status, body, truncated } = outcome.answer;
  const where = `${evidence.urls.at(-1) ?? path} at ${evidence.address ?? "an address unknown"}`;
  if (status !== 200) return wrong(evidence, `${where} answered with status ${status} instead of 200`);
  const text = Buffer.from(body).toString("latin1").trimEnd();
  if (truncated || text.length > longestBody) return wrong(evidence, `${where} answered with more than ${longestBody} octets`);
  if (text !== keyAuthorization) return wrong(evidence, `${where} answered with another text than the key authorization`);
  return { evidence, outcome: "valid" };
};
