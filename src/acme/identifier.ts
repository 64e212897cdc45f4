import { type AcmeFaultCode, Fault } from "../fault.ts";
import { isJsonObject, type Json, type JsonObject } from "../jose/json.ts";
import { canonicalDnsName, canonicalIpAddress } from "../pki/general-name.ts";
import type { IdentifierPolicy } from "./directory.ts";
import { allows, type Judge } from "./identifier-policy.ts";
import type { Identifier } from "./problem.ts";

/** Whose rules an identifier is held against: those of the directory, and those of the account where its external account key has some. */
export type Judges = { readonly policy: Pick<IdentifierPolicy, "wildcards" | "singleLabels">; readonly judges: readonly Judge[] };

/** What is wrong with one identifier; in a Fault's `subproblems`. */
export type IdentifierProblem = {
  readonly code: "malformed" | Extract<AcmeFaultCode, "unsupportedIdentifier" | "rejectedIdentifier">;
  readonly detail: string;
  /** Absent for one of a type that we do not serve. */
  readonly identifier?: Identifier;
};

const maxIdentifiers = 100;
const maxLabels = 10;

/**
 * The identifiers of a newOrder: canonical, sorted, each once (RFC 8555 §7.4, RFC 8738 §3).
 * @throws Fault `malformed` for a list that is none, and with `subproblems`, one for each identifier that is refused: `malformed`,
 *   `unsupportedIdentifier`, `rejectedIdentifier`, or `compound` where they differ.
 */
export function parseIdentifiers(payload: JsonObject, rules: Judges): readonly Identifier[] {
  const problems: IdentifierProblem[] = [];
  const found = new Map<string, Identifier>();
  for (const { type, value } of listed(payload["identifiers"])) {
    const outcome = judgeIdentifier(type, value, rules);
    if ("code" in outcome) problems.push(outcome);
    else found.set(`${outcome.type} ${outcome.value}`, outcome);
  }
  if (problems.length > 0) throw refused(problems);
  return [...found].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([, identifier]) => identifier);
}

function listed(value: Json | undefined): readonly { readonly type: string; readonly value: string }[] {
  if (!Array.isArray(value) || value.length === 0) throw new Fault("malformed", "identifiers must be an array of one or more");
  if (value.length > maxIdentifiers) {
    throw new Fault("malformed", `the order has ${value.length} identifiers; the most is ${maxIdentifiers}`);
  }
  return value.map((item: Json) => {
    const { type, value: text } = isJsonObject(item) ? item : {};
    if (typeof type !== "string" || typeof text !== "string") {
      throw new Fault("malformed", "each identifier must be an object with the texts type and value");
    }
    return { type, value: text };
  });
}

function refused(problems: readonly IdentifierProblem[]): Fault {
  const [first] = problems;
  const alike = problems.every(({ code }) => code === first?.code);
  const detail = problems.length === 1 && first ? first.detail : `${problems.length} identifiers are refused; the subproblems say why`;
  return new Fault(alike && first ? first.code : "compound", detail, { members: { subproblems: problems } });
}

function judgeIdentifier(type: string, value: string, rules: Judges): Identifier | IdentifierProblem {
  switch (type) {
    case "dns":
      return judgeName(value, rules);
    case "ip":
      return judgeAddress(value, rules);
    default:
      return { code: "unsupportedIdentifier", detail: "identifiers are of type dns or ip" };
  }
}

function judgeName(text: string, { policy, judges }: Judges): Identifier | IdentifierProblem {
  const identifier: Identifier = { type: "dns", value: shown(text) };
  const malformed = (detail: string): IdentifierProblem => ({ code: "malformed", detail, identifier });
  const rejected = (detail: string): IdentifierProblem => ({ code: "rejectedIdentifier", detail, identifier });

  const wrong = syntaxProblem(text);
  if (wrong !== undefined) return malformed(`${identifier.value}: ${wrong}`);
  const name = text.toLowerCase();
  const labels = name.replace(/^\*\./, "").split(".");
  if (labels.some((label) => label.slice(2, 4) === "--" && !label.startsWith("xn--"))) {
    return rejected(`${name}: "--" in the third and fourth place of a label is reserved`);
  }
  const canonical = canonicalDnsName(name);
  if (canonical === undefined) return malformed(`${name}: a label beginning with xn-- is no A-label (RFC 5890 §2.3.2.1)`);
  if (labels.length === 1 && !policy.singleLabels) return rejected(`${name}: a name of one label is not certified here`);
  if (name.startsWith("*.") && !policy.wildcards) return rejected(`${name}: wildcards are not certified here`);
  const asked: Identifier = { type: "dns", value: canonical };
  return judges.every((one) => allows(one, asked)) ? asked : rejected(`${name}: the policy does not allow this name`);
}

/** What is wrong with the form of a dns value, as the end of a sentence. */
function syntaxProblem(text: string): string | undefined {
  if (!/^[\x21-\x7e]*$/.test(text)) return "a name is of visible ASCII; others are written as A-labels";
  const host = text.startsWith("*.") ? text.slice(2) : text;
  if (text.length > 253) return "a name has at most 253 characters";
  if (host.includes("*")) return "a wildcard is one * that is the whole first label";
  if (host.endsWith(".")) return "a name does not end with a dot";
  const labels = host.split(".");
  if (labels.length > maxLabels) return `a name has at most ${maxLabels} labels`;
  const label = labels.find((each) => !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(each));
  if (label !== undefined) return "a label is of 1 to 63 letters, digits and inner hyphens";
  if (/^(\d+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? "")) return "an IP address is an identifier of type ip";
  return undefined;
}

function judgeAddress(text: string, { judges }: Judges): Identifier | IdentifierProblem {
  const identifier: Identifier = { type: "ip", value: shown(text) };
  const canonical = canonicalIpAddress(text);
  if (canonical === undefined || canonical !== text) {
    const detail = `${identifier.value}: an ip value is a dotted quad, or an IPv6 address as RFC 5952 writes it`;
    return { code: "malformed", detail, identifier };
  }
  // One machine has one name here: no policy for IPv4 is passed by in other clothes (RFC 4291 §2.5.5.2).
  if (canonical.startsWith("::ffff:")) {
    return { code: "malformed", detail: `${canonical}: an IPv4 address is written as a dotted quad`, identifier };
  }
  const asked: Identifier = { type: "ip", value: canonical };
  if (judges.every((one) => allows(one, asked))) return asked;
  return { code: "rejectedIdentifier", detail: `${canonical}: the policy does not allow this address`, identifier: asked };
}

/** Visible ASCII of it, shortened: what a client sent is never shown as it is. */
function shown(text: string): string {
  const visible = text.replaceAll(/[^\x21-\x7e]/g, "?");
  return visible.length > 80 ? `${visible.slice(0, 80)}…` : visible;
}
