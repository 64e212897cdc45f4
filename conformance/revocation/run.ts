import { mkdir, mkdtemp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { startEmbedded } from "../../src/database/embedded.ts";
import { outputOf } from "../execute.ts";
import type { Matrix, Run } from "../matrix.ts";
import { freePort, startService, type Service } from "../service.ts";
import { judgeControl, judgeStrangersCrls, wrongShard, writeStrangersCrls } from "./controls.ts";
import { questionsAbout } from "./evidence.ts";
import { gnutls } from "./gnutls.ts";
import { installTools } from "./install.ts";
import { judge } from "./judge.ts";
import { bouncyCastle, go, java, pyhanko, webpki } from "./library.ts";
import { liveCertificates, wrongBehind } from "./live-urls.ts";
import type { Family } from "./method.ts";
import { nss } from "./nss.ts";
import { openssl } from "./openssl.ts";
import { twoHoursAgo } from "./past.ts";
import { startRelay, type Relay } from "./relay.ts";
import { nginxAndCurl } from "./staple.ts";
import { statusLinters } from "./status-linters.ts";
import { issueAndRevoke, issueShortLived, type Place } from "./stock.ts";
import { makeStranger, strangersSpecimen, type Stranger } from "./stranger.ts";
import type { Question, Specimen, Tool } from "./tool.ts";
import { signUnassigned } from "./unassigned.ts";

/** What the checks of one run share. */
type Stage = {
  readonly matrix: Matrix;
  readonly service: Service;
  readonly relay: Relay;
  readonly place: Place;
  readonly tools: readonly Tool[];
  readonly stranger: Stranger;
  readonly specimens: Readonly<Record<Family, readonly Specimen[]>>;
  readonly questions: readonly Question[];
};

const rootCrlPath = "/crl/root-1.crl";

/** A revocation stands in its CRL so many seconds later at the latest (XC-17). */
const listedWithinSeconds = 60;

/**
 * Real verifiers about certificates in every condition, by every way in which their status is told, against a service of its own; files lie below
 * `directory`. Everything goes through the URLs that stand in the certificates. @returns what each tool says of its version.
 */
export async function revocation(
  run: Run,
  { directory, tell }: { directory: string; tell: (line: string) => void },
): Promise<Readonly<Record<string, string>>> {
  const versions = await installTools(tell);
  await mkdir(directory, { recursive: true });
  const port = await freePort();
  const dataDirectory = await mkdtemp(join(directory, "data-"));
  const place = { directory, issuer: join(dataDirectory, "chain.pem"), root: join(dataDirectory, "root.pem") };
  const settings = {
    CHANCERY_DATA_DIR: dataDirectory,
    CHANCERY_STATUS_URL: `http://127.0.0.1:${port}`,
    CHANCERY_CRL_SHARDS: "server=4",
  };
  tell("starting a service two hours ago, for certificates that have expired since");
  const databaseDirectory = await mkdtemp(join(directory, "database-"));
  const expired = await twoHoursAgo(settings, databaseDirectory, async (past) => ({
    full: await issueShortLived(past, place, "full"),
    shard: await issueShortLived(past, place, "shard"),
  }));
  tell("starting it now");
  await using database = await startEmbedded(databaseDirectory);
  await using service = await startService({ ...settings, DATABASE_URL: database.url });
  await using relay = await startRelay(port, () => service.statusUrl);
  const stranger = await makeStranger(directory, `${settings.CHANCERY_STATUS_URL}${rootCrlPath}`);
  const specimens = await specimensOf(service, { place, stranger, expired });
  await listed(run.matrix, Object.values(specimens).flat());
  const rootCrlUrl = `${settings.CHANCERY_STATUS_URL}${rootCrlPath}`;
  const questions = await questionsAbout(specimens, { rootCrlUrl, directory });
  const all = [openssl, gnutls, java, bouncyCastle, go, nss(directory), webpki, pyhanko, nginxAndCurl(join(directory, "nginx"))];
  const tools = all.filter(({ name }) => name in versions);
  const stage = { matrix: run.matrix, service, relay, place, tools, stranger, specimens, questions };
  await verdicts(stage, tell);
  await liveUrls(stage);
  await controls(stage);
  await lint(run, stage);
  return versions;
}

async function specimensOf(
  service: Service,
  { place, stranger, expired }: { place: Place; stranger: Stranger; expired: Readonly<Record<Family, Specimen>> },
): Promise<Readonly<Record<Family, readonly Specimen[]>>> {
  const family = async (name: Family): Promise<Specimen[]> => {
    const known = await issueAndRevoke(service, place, name);
    const [model] = known;
    if (model === undefined) throw new Error("nothing was issued");
    const unassigned = await signUnassigned(service, place, name, model);
    return [...known, expired[name], unassigned, await strangersSpecimen(stranger, place, name, model)];
  };
  return { full: await family("full"), shard: await family("shard") };
}

/** Waits until every revoked certificate stands in the CRL that it names. */
async function listed(matrix: Matrix, specimens: readonly Specimen[]): Promise<void> {
  const revoked = specimens.filter(({ condition }) => condition.startsWith("revoked"));
  const serials = await Promise.all(
    revoked.map(async ({ certificate, crlUrl }) => {
      const serial = await outputOf("openssl", ["x509", "-in", certificate, "-noout", "-serial"]);
      return { crlUrl, serial: serial.trim().slice("serial=".length).toLowerCase() };
    }),
  );
  const begun = performance.now();
  const where = {
    subject: "CRLs",
    peer: "chancery",
    check: `a revocation stands in its CRL within ${listedWithinSeconds} s (XC-17)`,
  } as const;
  await matrix.check(where, async () => {
    for (;;) {
      const urls = [...new Set(serials.map(({ crlUrl }) => crlUrl))];
      const crls = new Map(await Promise.all(urls.map(async (url) => [url, await octetsOf(url)] as const)));
      const missing = serials.filter(({ crlUrl, serial }) => !crls.get(crlUrl)?.includes(serial));
      if (missing.length === 0) return undefined;
      if (performance.now() - begun > listedWithinSeconds * 1000) return `${missing.length} of ${serials.length} do not`;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  });
}

async function octetsOf(url: string): Promise<string> {
  const answer = await fetch(url);
  return Buffer.from(await answer.arrayBuffer()).toString("hex");
}

async function verdicts({ matrix, relay, tools, questions }: Stage, tell: (line: string) => void): Promise<void> {
  // Which way a tool asks that chooses by itself.
  const ways: Readonly<Record<string, "GET" | "POST">> = {
    openssl: "POST",
    gnutls: "POST",
    java: "GET",
    nss: "GET",
    pyhanko: "POST",
    "nginx+curl": "GET",
  };
  for (const tool of tools) {
    const [before, begun] = [relay.seen.length, performance.now()];
    await judge(matrix, tool, questions);
    tell(`${tool.name}: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    const way = ways[tool.name];
    if (way === undefined) continue;
    await matrix.check({ subject: `OCSP ${way}`, peer: tool.name, check: `it asks by ${way}` }, async () => {
      const asked = relay.seen.slice(before).filter(({ path }) => path.startsWith("/ocsp/"));
      return asked.some(({ method }) => method === way) ? undefined : `${asked.length} requests, none by ${way}`;
    });
  }
}

/** XC-22: what the URLs of live certificates lead to. */
async function liveUrls({ matrix, service, relay, place, specimens }: Stage): Promise<void> {
  const where = { subject: "URLs in live certificates", peer: "chancery" } as const;
  const live = await liveCertificates(service, place.directory);
  const profiles = new Set(live.map(({ profile }) => profile));
  await matrix.check({ ...where, check: "certificates of every profile are valid" }, async () =>
    ["root", "subordinate", "ocsp-responder", "server", "mtls"].every((name) => profiles.has(name)) ? undefined : [...profiles].join(),
  );
  for (const certificate of live) {
    await matrix.check({ ...where, check: "CRL, OCSP response and issuer are there, are its own and are young (XC-22)" }, async () => {
      const wrong = await wrongBehind(certificate, place);
      return wrong.length === 0 ? undefined : wrong.join("; ");
    });
  }
  await withAnotherShard(relay, good(specimens.shard), async ({ certificate: file }) => {
    await matrix.check({ subject: "negative controls", peer: "chancery", check: `XC-22 finds ${wrongShard.name}` }, async () => {
      const wrong = await wrongBehind({ file, profile: "server" }, place);
      return wrong.some((one) => one.includes("issuingDistributionPoint")) ? undefined : `found: ${wrong.join("; ") || "nothing"}`;
    });
  });
}

async function controls({ matrix, relay, tools, stranger, specimens, place, questions }: Stage): Promise<void> {
  await withAnotherShard(relay, good(specimens.shard), async (specimen) => {
    const right = questions.find((one) => one.specimen === specimen);
    if (right === undefined) throw new Error("nobody was asked about it");
    const crl = join(place.directory, "another-shard.crl");
    await outputOf("curl", ["--silent", "--fail", "--output", crl, specimen.crlUrl]);
    await judgeControl(matrix, wrongShard, { tools, questions: [{ ...right, crl }] });
  });
  const specimen = specimens.full.find(({ condition }) => condition === "another issuer's");
  if (specimen === undefined) throw new Error("the stranger issued nothing");
  const directory = strangersCrls(place);
  await mkdir(directory);
  await writeStrangersCrls(directory, stranger);
  relay.serve(rootCrlPath, await readFile(join(directory, "root.crl")));
  await judgeStrangersCrls(matrix, { tools, relay, specimen, directory });
}

/** While `act` runs, the CRL of another shard stands under the URL of the specimen's own. */
async function withAnotherShard(relay: Relay, specimen: Specimen, act: (specimen: Specimen) => Promise<void>): Promise<void> {
  const path = new URL(specimen.crlUrl).pathname;
  const shard = Number(/(\d+)\.crl$/.exec(path)?.[1]);
  relay.serve(path, path.replace(/\d+\.crl$/, `${(shard + 1) % 4}.crl`));
  try {
    await act(specimen);
  } finally {
    relay.serve(path, path);
  }
}

async function lint(run: Run, { questions, place }: Stage): Promise<void> {
  const signed = questions.filter(({ specimen }) => !["unassigned serial", "another issuer's"].includes(specimen.condition));
  const linted = {
    crls: unique(questions.map(({ crl }) => crl)),
    rootCrls: unique(questions.map(({ rootCrl }) => rootCrl)),
    responses: unique(signed.map(({ response }) => response)),
  };
  await statusLinters(run, linted, (name) => join(strangersCrls(place), `${name}.crl`));
}

/** Where the CRLs of the stranger lie. */
function strangersCrls({ directory }: Place): string {
  return join(directory, "stranger");
}

function good(specimens: readonly Specimen[]): Specimen {
  const found = specimens.find(({ condition }) => condition === "good");
  if (found === undefined) throw new Error("no certificate is good");
  return found;
}

function unique(files: readonly (string | undefined)[]): string[] {
  return [...new Set(files.filter((file) => file !== undefined))];
}
