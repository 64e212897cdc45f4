import { randomBytes } from "node:crypto";
import { rename, stat, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { may } from "./access/policy.ts";
import { tokenGuard } from "./access/store.ts";
import { type Access, openAccess } from "./access/token.ts";
import { type Ca, openCa } from "./ca/ca.ts";
import { type CeremonyPlan, healthKeyName, holdCeremony } from "./ca/ceremony.ts";
import { listCertificates, readCertificate } from "./ca/certificates.ts";
import { issue } from "./ca/issue.ts";
import { openAuthorities } from "./ca/open-authorities.ts";
import { settle } from "./ca/settle.ts";
import type { Config } from "./config.ts";
import { checkToken } from "./custody/check.ts";
import { readKeyPair } from "./custody/store.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { type Database, openDatabase } from "./database/connect.ts";
import { startEmbedded } from "./database/embedded.ts";
import { migrate } from "./database/migrate.ts";
import { Fault } from "./fault.ts";
import { openHsm } from "./hsm/client.ts";
import type { Doors, Verdict } from "./http/doors.ts";
import { front } from "./http/front.ts";
import { opsListener } from "./http/ops/listener.ts";
import { restDoor } from "./http/rest/door.ts";
import { routes } from "./http/rest/routes.ts";
import { listen, type ListenAddress, type Listener, requireFree } from "./http/server.ts";
import { statusListener } from "./http/status/listener.ts";
import { type Job, runJobs } from "./jobs/run.ts";
import { type ServiceCertificate, serviceCertificate } from "./jobs/service-certificate.ts";
import { openEvents } from "./observe/events.ts";
import { openLog } from "./observe/log.ts";
import { type Metrics, openMetrics } from "./observe/metrics.ts";

import { canonicalIpAddress, type GeneralName } from "./pki/general-name.ts";
import { encodePem } from "./pki/pem.ts";
import { builtInProfiles } from "./pki/profile.ts";
import type { Clock } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Hsm } from "./ports/hsm.ts";
import type { Random } from "./ports/random.ts";
import { moduleOptions, provisionEvaluation, readPin } from "./provision.ts";

/** What a test may put in place of the world, and where it may fail on purpose. */
export type Overrides = {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly events?: (events: Events) => Events;
  readonly hsm?: (hsm: Hsm) => Hsm;
  readonly database?: (database: Database) => Database;
};

/** A running service. Disposing it drains the listeners, ends the jobs, and closes token and database, in this order. */
export type Service = AsyncDisposable & {
  readonly config: Config;
  readonly ca: Ca;
  readonly access: Access;
  /** What is done again and again; a run out of turn does no harm. */
  readonly jobs: readonly Job[];
  /** The listeners as they were opened: port 0 of the configuration has become a real one. */
  readonly listeners: { readonly tls: Listener; readonly status: Listener; readonly ops: Listener };
};

const systemClock: Clock = { now: () => new Date() };
/** The operating system's generator, asked for a page at a time: a certificate takes five small draws. */
function systemRandom(): Random {
  const page = new Uint8Array(4096);
  let used = page.length;
  return {
    bytes(length) {
      if (length > page.length) return crypto.getRandomValues(new Uint8Array(length));
      if (used + length > page.length) {
        crypto.getRandomValues(page);
        used = 0;
      }
      const bytes = page.slice(used, used + length);
      // What was given out is not kept.
      page.fill(0, used, used + length);
      used += length;
      return bytes;
    },
  };
}

/** An evaluation's hierarchy, where nobody was asked. */
export const evaluationPlan: CeremonyPlan = {
  organization: "Chancery Evaluation",
  country: "XX",
  rootKeyAlgorithm: "P-384",
  issuingKeyAlgorithm: "P-256",
};

/**
 * Starts the whole service. An evaluation that has no authority yet holds its ceremony first.
 * @throws Fault `refusedToStart` with a sentence that names the option or the remedy; what was opened is closed again.
 */
export async function build(config: Config, overrides: Overrides = {}): Promise<Service> {
  await using stack = new AsyncDisposableStack();
  const addresses = listenAddresses(config);
  // Before anything is made: a status URL that somebody else serves would stand in the hierarchy for ever.
  for (const address of Object.values(addresses)) await requireFree(address);
  const world = await openWorld(config, overrides, stack);
  const { database, hsm, clock, events } = world;

  if (!(await isInitialised(world)) && config.env === "evaluation") await ceremony(world, evaluationPlan);
  if (!(await isInitialised(world))) {
    throw new Fault("refusedToStart", "there is no authority yet: run `chancery init` once, with the root's token at hand");
  }
  const { unusable } = await checkToken(world);
  if (unusable.length > 0) {
    const detail = `the token ${hsm.token} does not hold ${unusable.join(", ")} as recorded: its signatures do not verify`;
    throw new Fault("refusedToStart", `${detail}; restore the token or the database that belongs to it`);
  }
  await watchHealth(world);
  const authorities = await openAuthorities(database, config.statusUrl);
  const ca = await openCa({ ...world, authorities, ownHost: ownHost(config), guard: tokenGuard });
  ca.timekeeper.compared(await database.clockSkewSeconds());
  const access = openAccess(world);
  await writeTrust(config, ca);

  const plan = { dataDir: config.dataDir, names: serviceNames(config) };
  let credentials = await serviceCertificate(ca, plan);
  const doors = openDoors({ config, world, ca, access });
  const status = stack.use(await listen(addresses.status, statusListener(doors)));
  const ops = stack.use(await listen(addresses.ops, opsListener(doors)));
  const tls = stack.use(
    await listen(addresses.tls, front(doors, restDoor(doors, routes)), {
      credentials: shown(credentials),
    }),
  );
  const renew = async (): Promise<void> => {
    const current = await serviceCertificate(ca, plan);
    if (current.chain === credentials.chain) return;
    credentials = current;
    tls.renew(shown(current));
    events.tell("info", "tls.renewed", { notAfter: current.notAfter.toISOString() });
  };
  const jobs = periodicJobs({ ca, database, renew });
  stack.use(runJobs(jobs, events));
  events.tell("info", "service.started", {
    env: config.env,
    tls: tls.port,
    status: status.port,
    ops: ops.port,
    at: clock.now().toISOString(),
  });
  stack.defer(() => events.tell("info", "service.stopping"));

  const held = stack.move();
  return { config, ca, access, jobs, listeners: { tls, status, ops }, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/**
 * Holds the ceremony: the first hierarchy, and a first administrator's token where the data directory has none.
 * @throws Fault `refusedToStart` with what is missing.
 */
export async function initialise(
  config: Config,
  plan: CeremonyPlan,
  overrides: Overrides = {},
): Promise<{ root: Uint8Array; adminToken: string }> {
  await using stack = new AsyncDisposableStack();
  const world = await openWorld(config, overrides, stack);
  await ceremony(world, plan);
  const authorities = await openAuthorities(world.database, config.statusUrl);
  await writeTrust(config, { authorities });
  const root = authorities.get("root-1");
  if (!root) throw new Fault("internal", "the ceremony left no root");
  return { root: root.certificate, adminToken: join(config.dataDir, "admin.token") };
}

/** Brings the schema up to date and gives the names of the migrations applied. */
export async function migrateDatabase(config: Config): Promise<readonly string[]> {
  await using stack = new AsyncDisposableStack();
  const { events } = openObservation(config, {});
  stack.use(takeDataDirectory(config.dataDir));
  return await migrate(await openStore(config, events, stack));
}

type World = {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly metrics: Metrics;
  readonly node: string;
  readonly database: Database;
  readonly hsm: Hsm;
};

/** Data directory, database with its schema, and the issuing token: what every act of this instance stands on. */
async function openWorld(config: Config, overrides: Overrides, stack: AsyncDisposableStack): Promise<World> {
  const { clock, events, metrics } = openObservation(config, overrides);
  const random = overrides.random ?? systemRandom();
  stack.use(takeDataDirectory(config.dataDir));
  const store = await openStore(config, events, stack);
  await migrate(store);
  const database = overrides.database?.(store) ?? store;
  metrics.countFrom({ name: "chancery_database_round_trips_total", help: "Round trips to PostgreSQL", read: () => store.roundTrips() });
  if (config.env === "evaluation") await provisionEvaluation(config, await moduleOptions(config), random);
  const token = stack.use(await openToken(config, events, "issuing"));
  const hsm = overrides.hsm?.(token) ?? token;
  return { config, clock, random, events, metrics, node: hostname(), database, hsm };
}

function openObservation(config: Config, overrides: Overrides): { clock: Clock; events: Events; metrics: Metrics } {
  const clock = overrides.clock ?? systemClock;
  const metrics = openMetrics();
  const events = openEvents({ log: openLog({ level: config.logLevel, clock }), metrics });
  return { clock, metrics, events: overrides.events?.(events) ?? events };
}

async function openStore(config: Config, events: Events, stack: AsyncDisposableStack): Promise<Database> {
  if (config.databaseUrl === undefined && config.env === "production") {
    throw new Fault("refusedToStart", "DATABASE_URL must be set: the embedded database is for evaluation only");
  }
  const url = config.databaseUrl ?? stack.use(await startEmbedded(config.dataDir)).url;
  return stack.use(await openDatabase({ url, poolSize: config.databasePool, production: config.env === "production" }, { events }));
}

/** Opens a token; the root's is opened by a ceremony alone. */
async function openToken(config: Config, events: Events, which: "issuing" | "root"): Promise<Hsm> {
  const root = which === "root";
  const pin = root
    ? await readPin(config.pkcs11RootPinFile, "CHANCERY_PKCS11_ROOT_PIN_FILE")
    : await readPin(config.pkcs11PinFile, "CHANCERY_PKCS11_PIN_FILE");
  return await openHsm(
    {
      ...(await moduleOptions(config)),
      token: root ? config.pkcs11RootToken : config.pkcs11Token,
      pin,
      sessions: root ? 1 : config.pkcs11Sessions,
      deadlineMs: 5_000,
      queueLimit: 2_048,
      production: config.env === "production",
      administration: true,
    },
    { events },
  );
}

async function isInitialised({ database, config }: World): Promise<boolean> {
  const authorities = await openAuthorities(database, config.statusUrl);
  return [...authorities.values()].some((authority) => authority.kind === "issuing");
}

async function ceremony(world: World, plan: CeremonyPlan): Promise<void> {
  const { config, events } = world;
  await using rootHsm = await openToken(config, events, "root");
  await holdCeremony({ ...world, rootHsm, statusUrl: config.statusUrl }, plan);
  await writeAdminToken(world);
}

/** A first administrator's token, for a year, unless the data directory has one. */
async function writeAdminToken(world: World): Promise<void> {
  const file = join(world.config.dataDir, "admin.token");
  if (await stat(file).catch(() => undefined)) return;
  const expiresAt = new Date(world.clock.now().getTime() + 365 * 86_400_000);
  const { token } = await openAccess(world).createToken(
    { id: "system", namespace: "/", role: "admin" },
    { role: "admin", namespace: "/", expiresAt },
  );
  await replaceFile(file, `${token}\n`, 0o600);
}

/** `root.pem` for those who trust us, `chain.pem` for servers that must send the issuers. */
async function writeTrust(config: Config, { authorities }: Pick<Ca, "authorities">): Promise<void> {
  const all = [...authorities.values()];
  const roots = all.filter(({ kind }) => kind === "root").map(({ certificate }) => certificate);
  const issuers = all.filter(({ kind }) => kind === "issuing").map(({ certificate }) => certificate);
  await replaceFile(join(config.dataDir, "root.pem"), pem(roots), 0o644);
  await replaceFile(join(config.dataDir, "chain.pem"), pem(issuers), 0o644);
}

function pem(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => encodePem("CERTIFICATE", der)).join("");
}

async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  await writeFile(draft, text, { mode, flag: "wx" });
  await rename(draft, file);
}

/** Readiness of the token is shown with a key of its own. */
async function watchHealth({ database, hsm }: World): Promise<void> {
  const pair = await database.transact((tx) => readKeyPair(tx, healthKeyName(hsm.token)));
  if (!pair)
    throw new Fault(
      "refusedToStart",
      `the token ${hsm.token} is not the one that \`chancery init\` prepared: its health key is not recorded`,
    );
  hsm.watch(pair.reference, pair.spki);
}

function listenAddresses({ listen: tls, statusListen, opsListen }: Config): Readonly<Record<"tls" | "status" | "ops", ListenAddress>> {
  return {
    tls: { ...tls, option: "CHANCERY_LISTEN", url: "CHANCERY_BASE_URL" },
    status: { ...statusListen, option: "CHANCERY_STATUS_LISTEN", url: "CHANCERY_STATUS_URL" },
    ops: { ...opsListen, option: "CHANCERY_OPS_LISTEN" },
  };
}

/** Every machine's own names. */
const loopback: readonly GeneralName[] = [
  { type: "dns", value: "localhost" },
  { type: "ip", value: "127.0.0.1" },
  { type: "ip", value: "::1" },
];

function baseHost({ baseUrl }: Config): GeneralName {
  const host = new URL(baseUrl).hostname.replace(/^\[|\]$/g, "");
  return isIP(host) ? { type: "ip", value: canonicalIpAddress(host) ?? host } : { type: "dns", value: host };
}

/** The names that clients reach the service by: that of its base URL, and those of this machine's loopback. */
function serviceNames(config: Config): readonly GeneralName[] {
  const own = baseHost(config);
  return [own, ...loopback.filter(({ value }) => value !== own.value)];
}

function ownHost(config: Config): string | undefined {
  const { value } = baseHost(config);
  return loopback.some((name) => name.value === value) ? undefined : value;
}

function shown({ chain, key }: ServiceCertificate): { certificate: string; key: string } {
  return { certificate: chain, key };
}

function openDoors({ config, world, ca, access }: { config: Config; world: World; ca: Ca; access: Access }): Doors {
  const { random, events, metrics, database, hsm } = world;
  return {
    baseUrl: config.baseUrl,
    random,
    events,
    authenticate: access.authenticate,
    may,
    issue: async (request) => {
      const started = performance.now();
      const issued = await issue(ca, request);
      events.measure("chancery_issuance_seconds", (performance.now() - started) / 1000, { profile: issued.certificate.profile });
      return issued;
    },
    readCertificate: (namespace, serial) => readCertificate(ca, namespace, serial),
    listCertificates: (namespace, query) => listCertificates(ca, namespace, query),
    profiles: () => builtInProfiles,
    authorities: () => [...ca.authorities.values()],
    createToken: access.createToken,
    listTokens: access.listTokens,
    revokeToken: access.revokeToken,
    issueChecks: [
      { name: "database", run: () => database.health() },
      { name: "hsm", run: () => hsm.health() },
      { name: "clock", run: () => clockVerdict(ca) },
    ],
    statusChecks: [{ name: "authorities", run: () => ({ ready: ca.authorities.size > 0, detail: `${ca.authorities.size} in memory` }) }],
    metrics: () => metrics.render(),
  };
}

function clockVerdict({ timekeeper }: Ca): Verdict {
  const problem = timekeeper.problem();
  return { ready: problem === undefined, detail: problem ?? "the clock agrees with the database's" };
}

function periodicJobs({ ca, database, renew }: { ca: Ca; database: Database; renew: () => Promise<void> }): readonly Job[] {
  return [
    { name: "settle", everySeconds: 15, act: async () => void (await settle(ca)) },
    { name: "clock", everySeconds: 10, act: async () => ca.timekeeper.compared(await database.clockSkewSeconds()) },
    { name: "service certificate", everySeconds: 60, act: renew },
  ];
}
