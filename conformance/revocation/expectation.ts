import { conditions, type Condition, type Method, type ToolName, type Verdict } from "./method.ts";

/** What a tool must make of a certificate; `because` where that is not what the condition says by itself. */
export type Expectation = { readonly verdict: Verdict; readonly because?: string };

/** A line of the table of differences. Without `methods` or `conditions` it speaks of all of them. */
type Difference = {
  readonly tool: ToolName;
  readonly methods?: readonly Method[];
  readonly conditions?: readonly Condition[];
  readonly verdict: Verdict;
  readonly because: string;
};

const crls = ["full CRL", "shard CRL"] as const;
const ocsp = ["OCSP GET", "OCSP POST", "OCSP nonce", "OCSP batch"] as const;
const revoked = conditions.filter((condition) => condition.startsWith("revoked"));

/** What a tool cannot do, and why: such a cell of the matrix is empty. */
export const cannot: readonly { readonly tool: ToolName; readonly methods: readonly Method[]; readonly because: string }[] = [
  { tool: "go", methods: ["OCSP nonce"], because: "x/crypto/ocsp makes no nonce and reads none" },
  { tool: "nss", methods: ["OCSP POST"], because: "vfychain asks by GET; by POST only where GET had no answer that it can use" },
  { tool: "nss", methods: ["OCSP nonce", "OCSP batch"], because: "NSS sends no nonce, and asks about one certificate" },
  { tool: "rustls-webpki", methods: ocsp, because: "webpki reads CRLs and no OCSP" },
  {
    tool: "nginx+curl",
    methods: ["OCSP POST", "OCSP nonce", "OCSP batch"],
    because: "nginx asks by GET, without nonce, about its own certificate",
  },
];

/** Where a tool's verdict is another than the condition says. The first line that fits counts. */
export const differences: readonly Difference[] = [
  {
    tool: "openssl",
    methods: ocsp,
    conditions: ["expired"],
    verdict: "good",
    because: "`openssl ocsp` asks about the status alone; that of an expired certificate is still told",
  },
  { tool: "openssl", methods: crls, conditions: revoked, verdict: "revoked", because: "`openssl verify` does not tell the reason" },
  {
    tool: "openssl",
    methods: ocsp,
    conditions: ["revoked privilegeWithdrawn"],
    verdict: "revoked",
    because: "OpenSSL 3.0 has no name for reason 9, and writes (UNKNOWN)",
  },
  {
    tool: "gnutls",
    methods: ocsp,
    conditions: ["expired"],
    verdict: "good",
    because: "ocsptool asks about the status alone; that of an expired certificate is still told",
  },
  { tool: "gnutls", conditions: revoked, verdict: "revoked", because: "neither certtool nor ocsptool tells the reason" },
  {
    tool: "gnutls",
    methods: crls,
    conditions: ["another issuer's"],
    verdict: "good",
    because: "certtool passes over a CRL of another issuer, and asks for none",
  },
  {
    tool: "nss",
    methods: ["shard CRL"],
    verdict: "undetermined",
    because: "NSS 3.87 takes in no CRL with a critical issuingDistributionPoint (XT-7)",
  },
  { tool: "nss", conditions: revoked, verdict: "revoked", because: "vfychain does not tell the reason" },
  { tool: "rustls-webpki", conditions: revoked, verdict: "revoked", because: "webpki does not tell the reason" },
  { tool: "nginx+curl", conditions: revoked, verdict: "revoked", because: "neither curl nor nginx's log tells the reason" },
];

/** What `tool` must say of a certificate in `condition` by `method`; undefined where it cannot do that. */
export function expectation(tool: ToolName, method: Method, condition: Condition): Expectation | undefined {
  if (cannot.some((one) => one.tool === tool && one.methods.includes(method))) return undefined;
  const different = differences.find(
    (one) => one.tool === tool && (one.methods?.includes(method) ?? true) && (one.conditions?.includes(condition) ?? true),
  );
  return different ?? usual(method, condition);
}

/** What follows from the condition by itself. */
function usual(method: Method, condition: Condition): Expectation {
  if (condition === "another issuer's") return { verdict: "undetermined" };
  if (condition !== "unassigned serial") return { verdict: condition };
  return method.endsWith("CRL")
    ? { verdict: "good", because: "a CRL lists what is revoked: what was never assigned does not stand in it" }
    : { verdict: "undetermined" };
}
