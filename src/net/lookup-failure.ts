import { final, transient } from "./attempt.ts";
import type { Attempt } from "./attempt.ts";
import type { LookupFailure } from "./resolver.ts";

/**
 * The failure of a question whose name `called` could not be looked up, in the words of its applicant.
 * @param resolver its address, where the applicant may be told it.
 */
export function lookupFailed(called: string, failure: LookupFailure | "no data", resolver: string | undefined): Attempt<never> {
  const by = `the DNS resolver ${resolver ?? ""}`.trimEnd();
  switch (failure) {
    case "NXDOMAIN":
      return final("dns", `${by} says that ${called} does not exist (NXDOMAIN)`);
    case "no data":
      return final("dns", `${by} says that ${called} has neither an AAAA nor an A record`);
    case "too long":
      return final("dns", `${called} is longer than DNS carries`);
    case "SERVFAIL":
    case "REFUSED":
      return transient("dns", `${by} could not look up ${called} (${failure})`);
    case "another error":
      return transient("dns", `${by} answered the question for ${called} with an error`);
    case "malformed":
      return transient("dns", `${by} answered the question for ${called} with a malformed message`);
    case "recased":
      return transient("dns", `${by} answers for ${called} in another case than it was asked in, as a forged answer would`);
    case "no answer":
      return transient("dns", `${by} gave no answer for ${called} in time`);
    case "too many":
      return transient("dns", `${called} leads through more CNAMEs or takes more DNS queries than are followed`);
    default:
      return failure satisfies never;
  }
}
