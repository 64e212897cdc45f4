import { createHash } from "node:crypto";
import { type ChallengeKind, unanswered, wrong } from "./challenge-kind.ts";

/** dns-01: the digest of the key authorization in a TXT record below the name. @see RFC 8555 §8.4 */
export const dns01: ChallengeKind = async (validator, { tenant, identifier, keyAuthorization }) => {
  const name = `_acme-challenge.${identifier.value}`;
  const { evidence, ...outcome } = await validator.txt({ tenant, name });
  if ("failure" in outcome) return unanswered(evidence, outcome.failure);
  const { records, resolver } = outcome.answer;
  const digest = createHash("sha256").update(keyAuthorization).digest("base64url");
  if (records.includes(digest)) return { evidence, outcome: "valid" };
  const found = records.length === 0 ? "has no TXT record" : `has ${records.length} TXT records, none of them the digest that is asked for`;
  return wrong(evidence, `${name} ${found} (asked ${resolver ?? "the resolver"})`);
};
