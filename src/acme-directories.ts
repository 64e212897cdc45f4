import { readFile } from "node:fs/promises";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import type { Directory } from "./acme/directory.ts";
import { parseNamePattern, parseRange } from "./acme/identifier-policy.ts";
import { parseNamespace } from "./access/namespace.ts";
import type { Config } from "./config.ts";
import { Fault } from "./fault.ts";
import { profileByName } from "./pki/profile.ts";

/**
 * The ACME directories by their names: those of CHANCERY_ACME_DIRECTORIES; without it `evaluationDirectory` in an evaluation, and none in
 * production, which certifies nothing that it was not told to.
 * @throws Fault `refusedToStart` with a sentence that names the directory and the member.
 */
export async function readDirectories({ env, acmeDirectories: file }: Config): Promise<ReadonlyMap<string, Directory>> {
  if (file === undefined) return new Map(env === "evaluation" ? [[evaluationDirectory.name, evaluationDirectory]] : []);
  const parsed = document.safeParse(await readYaml(file));
  if (!parsed.success) throw new Fault("refusedToStart", `CHANCERY_ACME_DIRECTORIES ${parsed.error.issues.map(sentence).join("; ")}`);
  return new Map(Object.entries(parsed.data).map(([name, row]) => [name, directory(name, row, env)]));
}

/** Takes every name and address, and asks nobody who they are: for a machine on which there is nothing to lose. */
const evaluationDirectory: Directory = {
  name: "default",
  namespace: "/",
  profile: "server",
  identifiers: { names: ["*"], wildcards: true, singleLabels: true, ipRanges: ["0.0.0.0/0", "::/0"] },
  challengeTypes: ["http-01", "dns-01", "tls-alpn-01"],
  externalAccountRequired: false,
  renewedConsent: false,
  limits: {},
};

/** What a healthy client never reaches, however many certificates it looks after. */
const usualLimits = {
  newAccountsPerAddress: { count: 500, seconds: 10_800 },
  newOrdersPerAccount: { count: 1_500, seconds: 10_800 },
  accountUpdates: { count: 60, seconds: 3_600 },
  failedValidations: { count: 5, seconds: 3_600 },
} as const;

/** A text that `parse` takes; what it says of another one is the judgement. */
const parsedBy = (parse: (text: string) => unknown) =>
  z.string("must be text").superRefine((text, context) => {
    try {
      parse(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Fault ? error.detail : "is not usable" });
    }
  });

const httpUrl = z.url({ protocol: /^https?$/, error: "must be an http or https URL" });
const bucket = z.strictObject(
  { count: z.int().min(1).max(1_000_000), seconds: z.int().min(1).max(604_800) },
  "must have the whole numbers count and seconds, or be null",
);

const profile = z.string("must name a profile").superRefine((name, context) => {
  const found = profileByName(name);
  const fits = found?.kind === "end-entity" && found.names.types.includes("dns");
  if (!fits) context.addIssue({ code: "custom", message: `${JSON.stringify(name)} is no profile for servers or clients that have names` });
});

const row = z
  .strictObject({
    namespace: parsedBy(parseNamespace).default("/"),
    profile: profile.default("server"),
    names: z.array(parsedBy(parseNamePattern)).default([]),
    wildcards: z.boolean().default(false),
    singleLabels: z.boolean().default(false),
    ipRanges: z.array(parsedBy(parseRange)).default([]),
    challengeTypes: z
      .array(z.enum(["http-01", "dns-01", "tls-alpn-01"]))
      .min(1)
      .default(["http-01", "dns-01", "tls-alpn-01"]),
    externalAccountRequired: z.boolean().default(false),
    termsOfService: httpUrl.optional(),
    renewedConsent: z.boolean().default(false),
    website: httpUrl.optional(),
    newAccountsPerAddress: bucket.nullable().optional(),
    newOrdersPerAccount: bucket.nullable().default(usualLimits.newOrdersPerAccount),
    accountUpdates: bucket.nullable().default(usualLimits.accountUpdates),
    failedValidations: bucket.nullable().default(usualLimits.failedValidations),
    certificatesPerNames: bucket.nullable().default(null),
  })
  .refine(({ names, ipRanges }) => names.length + ipRanges.length > 0, "allows neither names nor ipRanges: nothing could be ordered");

const nameForm = "must be lower-case letters, digits and inner hyphens, at most 32";
const document = z.record(
  z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/, nameForm),
  row,
  "must map names of directories to what each allows",
);

function directory(name: string, { termsOfService, website, ...given }: z.infer<typeof row>, env: Config["env"]): Directory {
  const { names, wildcards, singleLabels, ipRanges, newOrdersPerAccount, accountUpdates, failedValidations, certificatesPerNames } = given;
  // Where an account costs nothing, limits by account hold nobody up. An evaluation has all its clients at one address.
  const openToAll = env === "production" && !given.externalAccountRequired;
  const { newAccountsPerAddress = openToAll ? usualLimits.newAccountsPerAddress : null } = given;
  return {
    name,
    namespace: given.namespace,
    profile: given.profile,
    identifiers: { names, wildcards, singleLabels, ipRanges },
    challengeTypes: given.challengeTypes,
    externalAccountRequired: given.externalAccountRequired,
    renewedConsent: given.renewedConsent,
    ...(termsOfService !== undefined && { termsOfService }),
    ...(website !== undefined && { website }),
    limits: {
      ...(newAccountsPerAddress && { newAccountsPerAddress }),
      ...(newOrdersPerAccount && { newOrdersPerAccount }),
      ...(accountUpdates && { accountUpdates }),
      ...(failedValidations && { failedValidations }),
      ...(certificatesPerNames && { certificatesPerNames }),
    },
  };
}

async function readYaml(file: string): Promise<unknown> {
  try {
    return parseYaml(await readFile(file, "utf8"));
  } catch (cause) {
    // The parser draws the line and an arrow behind its sentence.
    const reason = cause instanceof Error ? cause.message.split(":\n")[0] : "unreadable";
    throw new Fault("refusedToStart", `CHANCERY_ACME_DIRECTORIES ${file} cannot be read: ${reason}`, { cause });
  }
}

function sentence(issue: z.core.$ZodIssue): string {
  const { path, message } = issue;
  return `${path.length === 0 ? "its document" : path.map(String).join(".")}: ${judgement(issue) ?? message}`;
}

/** What zod says with words of its own. */
function judgement(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code === "unrecognized_keys") return `has the unknown member ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`;
  return issue.code === "invalid_key" ? issue.issues[0]?.message : undefined;
}
