import { isIP } from "node:net";
import { may } from "./access/policy.ts";
import { tokenGuard } from "./access/store.ts";
import { type Access, openAccess } from "./access/token.ts";
import { type Acme, openAcme } from "./acme/acme.ts";
import type { Directory } from "./acme/directory.ts";
import { examineOrder } from "./acme/examine-order.ts";
import { createExternalAccountKey, listExternalAccountKeys, revokeExternalAccountKey } from "./acme/external-account.ts";
import { acmeGuard } from "./acme/guard-store.ts";
import { listAccounts, showAccount } from "./acme/list-accounts.ts";
import { listOrders } from "./acme/read-order.ts";
import { revokeAccount } from "./acme/revoke-account.ts";
import { sweep } from "./acme/sweep.ts";
import { validateDue } from "./acme/validate.ts";
import { readDirectories } from "./acme-directories.ts";
import type { Guard } from "./ca/attempt-store.ts";
import { type Ca, openCa } from "./ca/ca.ts";
import { healthKeyName } from "./ca/ceremony.ts";
import { listCertificates, readCertificate } from "./ca/certificates.ts";
import { haltIssuance, resumeIssuance, showHalt } from "./ca/halt.ts";
import { issue } from "./ca/issue.ts";
import {
  beginRevocation,
  continueRevocation,
  continueRevocations,
  previewRevocation,
  readRevocation,
  stopRevocation,
} from "./ca/mass-revocation.ts";
import { budgetsOf } from "./ca/ocsp-budget.ts";
import { openOcsp, type Ocsp, renewResponders } from "./ca/ocsp.ts";
import { answerOcsp } from "./ca/ocsp-answer.ts";
import { limitPreviews } from "./ca/preview-limit.ts";
import type { Campaign } from "./ca/mass-revocation-store.ts";
import { openAuthorities, requireKeys } from "./ca/open-authorities.ts";
import { requestRevocation } from "./ca/request-revocation.ts";
import { revokeBlocked } from "./ca/revoke.ts";
import { settle, settleUnfinished } from "./ca/settle.ts";
import { stopGuard } from "./ca/stop-store.ts";
import type { Config } from "./config.ts";
import { type Crls, openCrlService } from "./crls.ts";
import { readKeyPair } from "./custody/store.ts";
import { parseDatabaseUrl } from "./database/address.ts";
import type { Database } from "./database/connect.ts";
import { Fault } from "./fault.ts";
import { acmeDoor, acmeRefusal } from "./http/acme/door.ts";
import { rejectNonces } from "./http/acme/reject-nonces.ts";
import { acmeRoutes } from "./http/acme/routes.ts";
import type { Doors } from "./http/doors.ts";
import { front } from "./http/front.ts";
import { opsListener } from "./http/ops/listener.ts";
import { restDoor } from "./http/rest/door.ts";
import { routes } from "./http/rest/routes.ts";
import { listen, type ListenAddress, type Listener, requireFree } from "./http/server.ts";
import { statusListener } from "./http/status/listener.ts";
import { evaluationPlan, holdFirstCeremony, isInitialised, requireResponderKeys, writeTrust } from "./initialise.ts";
import { type Job, runJobs } from "./jobs/run.ts";
import { type ServiceCertificate, serviceCertificate } from "./jobs/service-certificate.ts";
import { type Cidr, parseCidr } from "./net/egress.ts";
import { type OwnPlace, readOwnPlaces } from "./net/own-places.ts";
import { openValidator } from "./net/validator-client.ts";
import { canonicalIpAddress, type GeneralName } from "./pki/general-name.ts";
import type { Hsm } from "./ports/hsm.ts";
import type { Validator } from "./ports/validator.ts";
import { processIdentity } from "./process-identity.ts";
import { clockVerdict, haltVerdict, issuersVerdict, respondersVerdict } from "./readiness.ts";
import { requireRootCrls } from "./root-crl.ts";
import { openToken, openWorld, type Overrides, type World } from "./world.ts";

/** A running service. Disposing it drains the listeners, ends the jobs, and closes token and database, in this order. */
export type Service = AsyncDisposable & {
  readonly config: Config;
  readonly ca: Ca;
  readonly ocsp: Ocsp;
  readonly acme: Acme;
  readonly access: Access;
  /** What is done again and again; a run out of turn does no harm. */
  readonly jobs: readonly Job[];
  /** The listeners as they were opened: port 0 of the configuration has become a real one. */
  readonly listeners: { readonly tls: Listener; readonly status: Listener; readonly ops: Listener };
};

/**
 * Starts the whole service. An evaluation that has no authority yet holds its ceremony first.
 * @throws Fault `refusedToStart` with a sentence that names the option or the remedy; what was opened is closed again.
 */
export async function build(config: Config, overrides: Overrides = {}): Promise<Service> {
  await using stack = new AsyncDisposableStack();
  const world = await openWorld(config, overrides, stack);
  const { database, events } = world;
  const addresses = listenAddresses(config);
  // Before the hierarchy is made: a status URL that somebody else serves would stand in it for ever.
  for (const address of Object.values(addresses)) await requireFree(address);
  const directories = await readDirectories(config);

  if (!(await isInitialised(world)) && config.env === "evaluation") await holdFirstCeremony(world, evaluationPlan);
  if (!(await isInitialised(world))) {
    throw new Fault("refusedToStart", "there is no authority yet: run `chancery init` once, with the root's token at hand");
  }
  const authorities = await openAuthorities(database, config.statusUrl);
  await requireResponderKeys(world, authorities);
  await requireRootCrls(world, authorities);
  const token = stack.use(await openToken(world, "issuing"));
  const hsm = overrides.hsm?.(token) ?? token;
  await requireKeys({ ...world, hsm }, authorities);
  await watchHealth(database, hsm);
  world.metrics.measureFrom({
    name: "chancery_hsm_health_age_seconds",
    help: "Time since the health text was last signed and verified",
    labels: { token: hsm.token },
    read: () => hsm.health().ageSeconds,
  });
  const ca = await openCa({ ...world, hsm, authorities, ownHost: ownHost(config), guard, crlShards: config.crlShards });
  ca.timekeeper.compared(await database.clockSkewSeconds());
  world.metrics.measureFrom({
    name: "chancery_issuance_halted",
    help: "1 while an administrator has halted issuance, as this instance knows it",
    labels: {},
    read: () => (ca.halt.known() ? 1 : 0),
  });
  const crls = stack.use(await openCrlService(world, ca));
  const ocsp = await openOcsp(ca, budgetsOf(config.ocspNoncesPerSecond));
  measureStatus(world, ocsp);
  const access = openAccess(world);
  const { validator, keepFromOwn } = await watchedValidator(world, overrides, stack);
  const acme = await openAcme({
    ...world,
    ca,
    directories,
    validator,
    baseUrl: config.baseUrl,
    alwaysValid: config.testAlwaysValid,
  });
  tellOpenness(world, directories);
  await writeTrust(config, ca);

  const plan = { dataDir: config.dataDir, names: serviceNames(config) };
  let credentials = await serviceCertificate(ca, plan);
  const doors = openDoors(world, { ca, crls, ocsp, acme, access });
  const status = stack.use(await listen(addresses.status, statusListener(doors)));
  const ops = stack.use(await listen(addresses.ops, opsListener(doors)));
  const applications = { rest: restDoor(doors, routes), acme: acmeDoor(doors, acmeRoutes), refuseAcme: acmeRefusal(doors) };
  const tls = stack.use(await listen(addresses.tls, front(doors, applications), { credentials: shown(credentials) }));
  const renew = async (): Promise<void> => {
    const current = await serviceCertificate(ca, plan);
    if (current.chain === credentials.chain) return;
    credentials = current;
    tls.renew(shown(current));
    events.tell("info", "tls.renewed", { notAfter: current.notAfter.toISOString() });
  };
  const jobs = [
    ...periodicJobs({ ca, ocsp, acme, database, renew }),
    ...crls.jobs,
    { name: "own addresses", everySeconds: 30, act: keepFromOwn },
  ];
  stack.use(runJobs(jobs, events));
  events.tell("info", "service.started", {
    env: config.env,
    tls: tls.port,
    status: status.port,
    ops: ops.port,
  });
  stack.defer(() => events.tell("info", "service.stopping"));

  const held = stack.move();
  return { config, ca, ocsp, acme, access, jobs, listeners: { tls, status, ops }, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** Readiness of the token is shown with a key of its own. */
async function watchHealth(database: Database, hsm: Hsm): Promise<void> {
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

function openDoors(
  { config, random, events, metrics, database }: World,
  { ca, crls, ocsp, acme, access }: { ca: Ca; crls: Crls; ocsp: Ocsp; acme: Acme; access: Access },
): Doors {
  return {
    baseUrl: config.baseUrl,
    random,
    events,
    acme,
    rejectsNonce: rejectNonces(config.testNonceRejectPercent),
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
    revokeCertificate: (principal, request) => requestRevocation(ca, principal, request),
    previewRevocation: limitPreviews((principal, request) => previewRevocation(ca, principal, request)),
    beginRevocation: async (principal, request) => {
      const { campaign, begun } = await beginRevocation(ca, principal, request);
      return { campaign: await goneOn(ca, campaign), begun };
    },
    readRevocation: (namespace, id) => readRevocation(ca, namespace, id),
    stopRevocation: (request) => stopRevocation(ca, request),
    haltIssuance: (request) => haltIssuance(ca, request),
    resumeIssuance: (request) => resumeIssuance(ca, request),
    showHalt: (principal) => showHalt(ca, principal),
    profiles: () => [...ca.profiles.values()].map(({ profile }) => profile),
    authorities: () => [...ca.authorities.values()],
    crl: crls.served,
    clock: ca.clock,
    ocsp: (slug, request, client) => answerOcsp(ocsp, { slug, request, client }),
    createToken: access.createToken,
    listTokens: access.listTokens,
    revokeToken: access.revokeToken,
    createExternalAccountKey: (principal, request, requestId) => createExternalAccountKey(acme, principal, request, requestId),
    listExternalAccountKeys: (principal, page) => listExternalAccountKeys(acme, principal, page),
    revokeExternalAccountKey: (principal, id, requestId) => revokeExternalAccountKey(acme, principal, id, requestId),
    listAcmeAccounts: (namespace, page) => listAccounts(acme, namespace, page),
    readAcmeAccount: (namespace, id) => showAccount(acme, namespace, id),
    revokeAcmeAccount: (principal, request) => revokeAccount(acme, principal, request),
    listAcmeOrders: (namespace, query) => listOrders(acme, namespace, query),
    readAcmeOrder: (namespace, id) => examineOrder(acme, namespace, id),
    recordDenial: access.recordDenial,
    issueChecks: [
      { name: "database", run: () => database.health() },
      { name: "hsm", run: () => ca.hsm.health() },
      { name: "clock", run: () => clockVerdict(ca) },
      { name: "halt", run: () => haltVerdict(ca) },
      { name: "issuers", run: () => issuersVerdict(ca) },
    ],
    revokeChecks: [{ name: "database", run: () => database.health() }],
    statusChecks: [
      { name: "authorities", run: () => ({ ready: ca.authorities.size > 0, detail: `${ca.authorities.size} in memory` }) },
      crls.check,
      { name: "responders", run: () => respondersVerdict(ocsp) },
    ],
    metrics: () => metrics.render(),
    instance: processIdentity(process.pid),
  };
}

function measureStatus({ metrics, clock }: World, { cache, feed }: Ocsp): void {
  metrics.measureFrom({
    name: "chancery_status_feed_age_seconds",
    help: "Time since revocations were last read from the database",
    labels: {},
    read: feed.ageSeconds,
  });
  metrics.measureFrom({
    name: "chancery_ocsp_oldest_answer_seconds",
    help: "Age of the oldest OCSP answer that is kept",
    labels: {},
    read: () => {
      const oldest = cache.oldest();
      return oldest && (clock.now().getTime() - oldest.getTime()) / 1000;
    },
  });
}

/** How long the answer to a revocation of many waits for its end. */
const patienceMs = 1_000;

/** The campaign as it is when it has ended, or its caller has waited for a second; what is left is a job's. */
async function goneOn(ca: Ca, campaign: Campaign): Promise<Campaign> {
  const start = performance.now();
  try {
    while (performance.now() - start < patienceMs && (await continueRevocation(ca, campaign.id)) === "more");
    return (await readRevocation(ca, campaign.namespace, campaign.id)) ?? campaign;
  } catch (cause) {
    // It is durable, and goes on: its caller is told so, not that it failed.
    ca.events.tell("warn", "job.failed", { job: "revocations", cause });
    return campaign;
  }
}

function periodicJobs(world: { ca: Ca; ocsp: Ocsp; acme: Acme; database: Database; renew: () => Promise<void> }): readonly Job[] {
  const { ca, ocsp, acme, database, renew } = world;
  return [
    { name: "settle", everySeconds: 15, act: async () => void (await settle(ca)) },
    { name: "halt", everySeconds: 0.5, act: ca.halt.refresh },
    { name: "settle unfinished", everySeconds: 1, act: () => settleUnfinished(ca) },
    { name: "clock", everySeconds: 2, act: async () => ca.timekeeper.compared(await database.clockSkewSeconds()) },
    { name: "service certificate", everySeconds: 60, act: renew },
    { name: "status feed", everySeconds: 0.5, act: ocsp.feed.poll },
    { name: "responders", everySeconds: 60, act: () => renewResponders(ca, ocsp) },
    { name: "validation", everySeconds: 1, act: () => validateDue(acme) },
    { name: "nonce keys", everySeconds: 30, act: acme.nonces.refresh },
    { name: "sweep", everySeconds: 60, act: () => sweep(acme) },
    { name: "revocations", everySeconds: 1, act: (signal) => continueRevocations(ca, signal) },
    { name: "compromised keys", everySeconds: 60, act: async (signal) => void (await revokeBlocked(ca, signal)) },
  ];
}

/** What must hold when an intent is recorded: nothing stops its authority, and of whoever asks for it an account and its order stand, else a token. */
const guard: Guard = (sql) =>
  sql`(${stopGuard(sql)} and case when u.principal like 'acme:%' then ${acmeGuard(sql)} else ${tokenGuard(sql)} end)`;

/** The validator, which contacts none of our own listeners, nor the database, whatever a name leads to. */
async function watchedValidator(
  { config, events }: World,
  overrides: Overrides,
  stack: AsyncDisposableStack,
): Promise<{ readonly validator: Validator; readonly keepFromOwn: () => Promise<void> }> {
  const allow = cidrsOf("CHANCERY_VALIDATION_ALLOW", config.validationAllow);
  const nat64 = cidrsOf("CHANCERY_NAT64_PREFIXES", config.nat64Prefixes);
  const readOwn = readOwnPlaces(ownPlaces(config));
  const { http01Port, tlsAlpn01Port, dnsServers } = config;
  const policy = { allow, own: await readOwn(), nat64 };
  const validator = stack.use(await openValidator({ http01Port, tlsAlpn01Port, dnsServers, policy }, { events }));
  return { validator: overrides.validator?.(validator) ?? validator, keepFromOwn: async () => validator.keepFrom(await readOwn()) };
}

function cidrsOf(option: string, texts: readonly string[]): readonly Cidr[] {
  return texts.map((text) => {
    const cidr = parseCidr(text);
    if (cidr) return cidr;
    throw new Fault(
      "refusedToStart",
      `${option}: ${text} is no address range, or its address has bits beyond its prefix, or it is judged as IPv4 anyway`,
    );
  });
}

/** Our own listeners, and the database: an embedded one has a Unix socket alone. */
function ownPlaces({ listen: tls, statusListen, opsListen, databaseUrl }: Config): readonly OwnPlace[] {
  return [tls, statusListen, opsListen, ...(databaseUrl === undefined ? [] : [parseDatabaseUrl(databaseUrl)])];
}

/** An evaluation takes for granted what production must be told: whoever reads its log shall know. */
function tellOpenness({ config, events }: World, directories: ReadonlyMap<string, Directory>): void {
  if (config.env !== "evaluation") return;
  const open = [...directories.values()].filter(
    ({ identifiers, externalAccountRequired }) => identifiers.names.includes("*") && !externalAccountRequired,
  );
  events.tell("warn", "acme.evaluation", {
    directories: open.map(({ name }) => name),
    takes: "accounts of anybody, every name with localhost and single labels, every address",
    contacts: config.validationAllow,
    ...(config.testAlwaysValid && { challenges: "are found met, nobody is asked" }),
    ...(config.testNonceRejectPercent > 0 && { noncesRefusedPercent: config.testNonceRejectPercent }),
  });
}
