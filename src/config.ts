import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { Fault } from "./fault.ts";

/** A listener's address. Port 0 takes a free one. */
export type Address = { readonly host: string; readonly port: number };

/** Every option of the service, checked and frozen. Paths are absolute. */
export type Config = {
  /** `production` refuses every default that only suits an evaluation. */
  readonly env: "production" | "evaluation";
  /** The directory of this instance: certificates for clients, first token, evaluation's database and token. */
  readonly dataDir: string;
  /** TLS: REST and ACME. */
  readonly listen: Address;
  /** Plain HTTP: CRL, OCSP, AIA. */
  readonly statusListen: Address;
  /** Plain HTTP: health and metrics. */
  readonly opsListen: Address;
  /** How clients reach `listen`: https, no path, no trailing slash. */
  readonly baseUrl: string;
  /** How everyone reaches `statusListen`: http (RFC 5280 §4.2.1.13, §8), no trailing slash. Stands in every certificate. */
  readonly statusUrl: string;
  /** PostgreSQL connection URL; undefined: the embedded server. */
  readonly databaseUrl: string | undefined;
  /** Connections of this instance to PostgreSQL. */
  readonly databasePool: number;
  /** Path of the PKCS#11 module. */
  readonly pkcs11Module: string | undefined;
  /** SoftHSM's configuration file, handed to the module's process; an evaluation has its own in the data directory. */
  readonly softHsmConf: string | undefined;
  /** Label of the token with the issuing keys. */
  readonly pkcs11Token: string;
  /** File that holds the user PIN of that token. */
  readonly pkcs11PinFile: string;
  /** Label of the root's token: opened by `init` alone. */
  readonly pkcs11RootToken: string;
  readonly pkcs11RootPinFile: string;
  /** PKCS#11 sessions of the issuing token, so signatures in flight. */
  readonly pkcs11Sessions: number;
  /** OCSP answers that are signed for one request alone, by client, in a second on average: those with a nonce or for several certificates. */
  readonly ocspNoncesPerSecond: number;
  /** Where ACME's challenges are met: RFC 8555 §8.3 and RFC 8737 §3 say 80 and 443. */
  readonly http01Port: number;
  readonly tlsAlpn01Port: number;
  /** Resolvers for ACME's challenges, each an IP address with or without a port; undefined: those of the system. */
  readonly dnsServers: readonly string[] | undefined;
  /** Address ranges (CIDR) beyond public ones that ACME's challenges may lead to. */
  readonly validationAllow: readonly string[];
  /** Prefixes (CIDR) under which this network's own NAT64 reaches IPv4 addresses, beside 64:ff9b::/96 (RFC 6052 §2.2). */
  readonly nat64Prefixes: readonly string[];
  /** Where CRLs are kept as files, for this service and for any web server: the tree below `/crl/` of the status URL. */
  readonly crlDir: string;
  /** Into how many shards CRLs are divided, by the name of the profile; a profile that is not named has the full CRL in its certificates. */
  readonly crlShards: Readonly<Record<string, number>>;
  /** YAML file with the ACME directories; undefined: one for an evaluation, none in production. */
  readonly acmeDirectories: string | undefined;
  /** For test suites of ACME clients: how many of a hundred good nonces are refused. */
  readonly testNonceRejectPercent: number;
  /** For test suites of ACME clients: every challenge is found met, nobody is asked. */
  readonly testAlwaysValid: boolean;
  readonly logLevel: "debug" | "info" | "warn" | "error";
};

type Option = {
  readonly key: keyof Config;
  readonly variable: string;
  readonly schema: z.ZodType;
  /** What an evaluation may take for granted. */
  readonly fallback?: (dataDir: string, config: Partial<Record<keyof Config, unknown>>) => unknown;
  /** Whether production must be told, since the fallback suits an evaluation only; or must not, since the option does. */
  readonly production?: "required" | "refused";
};

/** A number in digits, as the environment gives it, or one of the YAML file. */
function wholeNumber(minimum: number, maximum: number) {
  const message = `must be a whole number from ${minimum} to ${maximum}`;
  const digits = z.coerce.string().regex(/^\d{1,9}$/, message);
  return digits.transform(Number).pipe(z.number().min(minimum, message).max(maximum, message));
}

const port = wholeNumber(0, 65_535);
const shardCount = wholeNumber(1, 1024);
const addressForm = "must be HOST:PORT, as 127.0.0.1:9443 or [::1]:9443";

const address = z.string(addressForm).transform((text, context): Address => {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const parsed = port.safeParse(match?.[3]);
  if (!match || !parsed.success) {
    context.addIssue({ code: "custom", message: addressForm });
    return z.NEVER;
  }
  return { host: match[1] ?? match[2] ?? "", port: parsed.data };
});

const url = (scheme: "https:" | "http:") => {
  const message = `must be an ${scheme}// URL${scheme === "https:" ? " without a path" : " without query or credentials"}`;
  return z.string(message).transform((text, context) => {
    const parsed = URL.canParse(text) ? new URL(text) : undefined;
    const plain = parsed && !parsed.search && !parsed.hash && !parsed.username && (parsed.pathname === "/" || scheme === "http:");
    if (!plain || parsed.protocol !== scheme) {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    }
    return parsed.href.replace(/\/+$/, "");
  });
};

const databaseForm =
  "must be a URL, postgresql://user@host/database, or for a Unix socket postgresql:///database?host=/run/postgresql&user=user";
const databaseUrl = z.string(databaseForm).regex(/^postgres(ql)?:\/\//, databaseForm);
const path = z.string("must be a path: put one of digits alone in quotes");
const labelForm = "must be 1 to 32 characters: put one of digits alone in quotes";
const label = z.string(labelForm).min(1, labelForm).max(32, labelForm);
const list = (form: string) =>
  z.string(form).transform((text) => (text === "" || text === "none" ? [] : text.split(",").map((item) => item.trim())));
const serversForm = "must be IP addresses with commas between, with a port or without: 192.0.2.53,127.0.0.1:5353,[::1]:5353";
const dnsServers = list(serversForm).refine(
  (items) => items.length > 0 && items.every((item) => /^[0-9a-fA-F:.[\]]+$/.test(item)),
  serversForm,
);
const rangesForm = "must be none, or address ranges with commas between: 10.0.0.0/8,fd00::/8";
const ranges = list(rangesForm).refine((items) => items.every((item) => /^[0-9a-fA-F:.]+\/\d{1,3}$/.test(item)), rangesForm);
const prefixesForm =
  "must be none, or IPv6 prefixes of 32, 40, 48, 56, 64 or 96 bits with commas between: 2001:db8:64::/96 (RFC 6052 §2.2)";
const prefixes = list(prefixesForm).refine(
  (items) => items.every((item) => /^[0-9a-fA-F:]+\/(32|40|48|56|64|96)$/.test(item)),
  prefixesForm,
);
const shardsForm = "must be none, or profiles with the number of their shards, 1 to 1024: mtls=16,server=8";
/** The text of the environment, or a mapping of the YAML file. */
const crlShards = z.union([z.string(), z.record(z.string(), z.union([z.string(), z.number()]))], shardsForm).transform((given, context) => {
  const pairs =
    typeof given !== "string"
      ? Object.entries(given).map(([name, count]) => [name, String(count)])
      : given === "" || given === "none"
        ? []
        : given.split(",").map((pair) => pair.trim().split("="));
  const shards = new Map<string, number>();
  for (const [name = "", count = "", ...rest] of pairs) {
    const parsed = shardCount.safeParse(count);
    if (rest.length > 0 || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || shards.has(name) || !parsed.success) {
      context.addIssue({ code: "custom", message: shardsForm });
      return z.NEVER;
    }
    shards.set(name, parsed.data);
  }
  return Object.freeze(Object.fromEntries(shards));
});
const yesOrNoForm = "must be true or false";
const yesOrNo = z.enum(["true", "false"], yesOrNoForm).transform((text) => text === "true");
const environment = z.enum(["production", "evaluation"], "must be production or evaluation");
const logLevel = z.enum(["debug", "info", "warn", "error"], "must be debug, info, warn or error");

/** The port of a listener that was read already, for the URL that leads to it; `usual` where any free one is taken. */
function portOf(listener: unknown, usual: number): number {
  const parsed = z.object({ port: z.number() }).safeParse(listener);
  return (parsed.success && parsed.data.port) || usual;
}

/** Every option, its variable, and what it takes by default. */
const options: readonly Option[] = [
  { key: "env", variable: "CHANCERY_ENV", schema: environment, fallback: () => "production" },
  { key: "dataDir", variable: "CHANCERY_DATA_DIR", schema: path, fallback: (dataDir) => dataDir },
  { key: "listen", variable: "CHANCERY_LISTEN", schema: address, fallback: () => "127.0.0.1:9443" },
  { key: "statusListen", variable: "CHANCERY_STATUS_LISTEN", schema: address, fallback: () => "127.0.0.1:9080" },
  { key: "opsListen", variable: "CHANCERY_OPS_LISTEN", schema: address, fallback: () => "127.0.0.1:9090" },
  {
    key: "baseUrl",
    variable: "CHANCERY_BASE_URL",
    schema: url("https:"),
    fallback: (_, { listen }) => `https://localhost:${portOf(listen, 9443)}`,
    production: "required",
  },
  {
    key: "statusUrl",
    variable: "CHANCERY_STATUS_URL",
    schema: url("http:"),
    fallback: (_, { statusListen }) => `http://localhost:${portOf(statusListen, 9080)}`,
    production: "required",
  },
  { key: "databaseUrl", variable: "DATABASE_URL", schema: databaseUrl, production: "required" },
  { key: "databasePool", variable: "CHANCERY_DATABASE_POOL", schema: wholeNumber(2, 90), fallback: () => 8 },
  { key: "pkcs11Module", variable: "CHANCERY_PKCS11_MODULE", schema: path, production: "required" },
  { key: "softHsmConf", variable: "SOFTHSM2_CONF", schema: path },
  { key: "pkcs11Token", variable: "CHANCERY_PKCS11_TOKEN", schema: label, fallback: () => "chancery-issuing", production: "required" },
  {
    key: "pkcs11PinFile",
    variable: "CHANCERY_PKCS11_PIN_FILE",
    schema: path,
    fallback: (d) => join(d, "issuing.pin"),
    production: "required",
  },
  { key: "pkcs11RootToken", variable: "CHANCERY_PKCS11_ROOT_TOKEN", schema: label, fallback: () => "chancery-root" },
  { key: "pkcs11RootPinFile", variable: "CHANCERY_PKCS11_ROOT_PIN_FILE", schema: path, fallback: (d) => join(d, "root.pin") },
  { key: "pkcs11Sessions", variable: "CHANCERY_PKCS11_SESSIONS", schema: wholeNumber(1, 256), fallback: () => 8 },
  { key: "ocspNoncesPerSecond", variable: "CHANCERY_OCSP_NONCES_PER_SECOND", schema: wholeNumber(0, 1_000_000), fallback: () => 100 },
  { key: "http01Port", variable: "CHANCERY_HTTP01_PORT", schema: wholeNumber(1, 65_535), fallback: () => 80 },
  { key: "tlsAlpn01Port", variable: "CHANCERY_TLSALPN01_PORT", schema: wholeNumber(1, 65_535), fallback: () => 443 },
  { key: "dnsServers", variable: "CHANCERY_DNS_SERVERS", schema: dnsServers },
  {
    key: "validationAllow",
    variable: "CHANCERY_VALIDATION_ALLOW",
    schema: ranges,
    fallback: (_, { env }) => (env === "evaluation" ? "127.0.0.0/8,::1/128" : "none"),
  },
  { key: "nat64Prefixes", variable: "CHANCERY_NAT64_PREFIXES", schema: prefixes, fallback: () => "none" },
  { key: "crlDir", variable: "CHANCERY_CRL_DIR", schema: path, fallback: (dataDir) => join(dataDir, "crl") },
  { key: "crlShards", variable: "CHANCERY_CRL_SHARDS", schema: crlShards, fallback: () => "none" },
  { key: "acmeDirectories", variable: "CHANCERY_ACME_DIRECTORIES", schema: path },
  {
    key: "testNonceRejectPercent",
    variable: "CHANCERY_TEST_NONCE_REJECT_PERCENT",
    schema: wholeNumber(0, 50),
    fallback: () => 0,
    production: "refused",
  },
  {
    key: "testAlwaysValid",
    variable: "CHANCERY_TEST_ALWAYS_VALID",
    schema: yesOrNo,
    fallback: () => "false",
    production: "refused",
  },
  { key: "logLevel", variable: "CHANCERY_LOG_LEVEL", schema: logLevel, fallback: () => "info" },
];

const paths: ReadonlySet<keyof Config> = new Set([
  "dataDir",
  "pkcs11Module",
  "softHsmConf",
  "pkcs11PinFile",
  "pkcs11RootPinFile",
  "acmeDirectories",
  "crlDir",
]);

/** Read by the command line, not by the service; known so that they are not refused. */
const clientVariables: ReadonlySet<string> = new Set(["CHANCERY_TOKEN_FILE", "CHANCERY_CA_FILE"]);

/** What `loadConfig` reads: the environment, the directory that relative paths and `./var` mean, and a YAML file by `--config`. */
export type ConfigSources = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly configFile?: string;
};

/**
 * Reads and checks every option; the environment wins over the file.
 * @throws Fault `refusedToStart` that names each wrong, unknown or missing option.
 */
export function loadConfig({ env, directory, configFile }: ConfigSources): Config {
  const file = configFile === undefined ? {} : readConfigFile(resolve(directory, configFile));
  const problems = [...unknownOptions(env, file)];
  const missing: string[] = [];
  const given = new Map<keyof Config, unknown>();
  for (const option of options) {
    const value = env[option.variable] ?? file[option.key];
    if (value !== undefined && value !== "") given.set(option.key, value);
  }
  const dataDir = resolve(directory, String(given.get("dataDir") ?? "var"));
  const production = (given.get("env") ?? "production") === "production";
  const config: Partial<Record<keyof Config, unknown>> = {};
  for (const option of options) {
    const value = given.get(option.key);
    if (value === undefined && production && option.production === "required") {
      missing.push(option.variable);
      continue;
    }
    if (value !== undefined && production && option.production === "refused") {
      problems.push(`${option.variable} is for tests of clients: it works with CHANCERY_ENV=evaluation only`);
      continue;
    }
    const raw = value ?? option.fallback?.(dataDir, config);
    if (raw === undefined) continue;
    const parsed = option.schema.safeParse(raw);
    if (!parsed.success) problems.push(`${option.variable} ${parsed.error.issues.map((issue) => issue.message).join(", ")}`);
    else config[option.key] = paths.has(option.key) ? resolve(directory, String(parsed.data)) : parsed.data;
  }
  if (missing.length > 0) problems.push(missingText(missing));
  if (problems.length > 0) throw new Fault("refusedToStart", problems.join("; "));
  return Object.freeze({ ...absent, ...config } as Config); // every option passed its schema
}

/** Options without a fallback. */
const absent = {
  databaseUrl: undefined,
  pkcs11Module: undefined,
  softHsmConf: undefined,
  dnsServers: undefined,
  acmeDirectories: undefined,
} as const satisfies Partial<Config>;

function missingText(variables: readonly string[]): string {
  const [last, ...before] = variables.toReversed();
  return before.length === 0
    ? `${last} must be set (its default suits CHANCERY_ENV=evaluation only)`
    : `${before.toReversed().join(", ")} and ${last} must be set (their defaults suit CHANCERY_ENV=evaluation only)`;
}

function readConfigFile(file: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = parseYaml(readFileSync(file, "utf8"));
  } catch (cause) {
    // The parser draws the line and an arrow behind its sentence.
    const reason = cause instanceof Error ? cause.message.split(":\n")[0] : "unreadable";
    throw new Fault("refusedToStart", `--config ${file} cannot be read: ${reason}`, { cause });
  }
  const scalar = z.union([z.string(), z.number()]);
  const parsed = z
    .looseObject({ crlShards: z.union([scalar, z.record(z.string(), scalar)]).optional() })
    .catchall(scalar)
    .safeParse(document ?? {});
  if (!parsed.success) {
    const option = parsed.error.issues[0]?.path[0];
    const wrong = option === undefined ? "" : `, and ${String(option)} is neither text nor a number`;
    throw new Fault("refusedToStart", `--config ${file} must hold options in camelCase, one a line, as listen: 0.0.0.0:9443${wrong}`);
  }
  return parsed.data;
}

function* unknownOptions(env: ConfigSources["env"], file: Record<string, unknown>): Generator<string> {
  const variables = new Set(options.map((option) => option.variable));
  const keys = new Set<string>(options.map((option) => option.key));
  for (const name of Object.keys(env)) {
    if (name.startsWith("CHANCERY_") && !variables.has(name) && !clientVariables.has(name)) yield `${name} is no option of this service`;
  }
  for (const name of Object.keys(file)) if (!keys.has(name)) yield `${name} in the configuration file is no option of this service`;
}
