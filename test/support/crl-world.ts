import { execFile } from "node:child_process";
import { createHash, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Ca, openCa } from "../../src/ca/ca.ts";
import { listCrlSlots } from "../../src/ca/crl-store.ts";
import { issue } from "../../src/ca/issue.ts";
import { openAuthorities } from "../../src/ca/open-authorities.ts";
import { openCrls, publishFirstCrls } from "../../src/ca/publish-due-crls.ts";
import { revoke } from "../../src/ca/revoke.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { crlParts } from "../../src/ca/crl-parts.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { verificationKey } from "../../src/pki/algorithm.ts";
import { openToken } from "../../src/world.ts";
import { type MovedClock, movedClock } from "./clock.ts";
import { type RecordedEvents, recordedEvents } from "./events.ts";
import { type Ground, standingGround } from "./service.ts";

/** Two instances of the authority over one database and one token, without listeners and jobs, on a clock that is moved. */
export type CrlGround = AsyncDisposable & {
  readonly ground: Ground;
  readonly ca: Ca;
  /** Another instance, with connections of its own. */
  readonly other: Ca;
  readonly clock: MovedClock;
  readonly events: RecordedEvents;
  /** Another instance with connections and settings of its own, as if it were started now. */
  readonly start: (crlShards?: Readonly<Record<string, number>>) => Promise<Ca>;
};

export async function crlGround(crlShards: Readonly<Record<string, number>> = {}): Promise<CrlGround> {
  await using stack = new AsyncDisposableStack();
  const ground = stack.use(await standingGround());
  const clock = movedClock();
  const events = recordedEvents();
  const hsm = stack.use(await openToken({ config: ground.config, events }, "issuing"));
  const random = { bytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)) };
  const connections = stack.use(new AsyncDisposableStack());
  const start: CrlGround["start"] = async (shards = crlShards) => {
    const database = connections.use(await openDatabase({ url: ground.databaseUrl, poolSize: 4 }, { events }));
    const authorities = await openAuthorities(database, ground.config.statusUrl);
    const world = { database, hsm, clock, random, events, node: "test", authorities, ownHost: undefined, crlShards: shards };
    const ca = { ...(await openCa({ ...world, guard: (sql) => sql`true` })), timekeeper: timekeeper(clock, undefined) };
    await openCrls(ca);
    await publishFirstCrls(ca, "issuing");
    return ca;
  };
  const [ca, other] = [await start(), await start()];
  const held = stack.move();
  return { ground, ca, other, clock, events, start, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** A certificate that was just issued. `serial` is hex. */
export type Leaf = { readonly serial: string; readonly der: Uint8Array; readonly notAfter: Date };

/** Issues a certificate of a profile for a new key. */
export async function issueLeaf(ca: Ca, profile = "server", lifetimeSeconds = 3_600): Promise<Leaf> {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { certificate } = await issue(ca, {
    door: "system",
    principal: { id: "system", namespace: "/" },
    requestHash: new Uint8Array(32),
    profile,
    names: [{ type: "dns", value: "leaf.example.org" }],
    publicKey: verificationKey(new Uint8Array(publicKey.export({ type: "spki", format: "der" }))),
    lifetimeSeconds,
  });
  return { serial: certificate.serial, der: certificate.certificate, notAfter: certificate.notAfter };
}

/** Revokes it; reason 4 is superseded. */
export async function revokeLeaf(ca: Ca, { serial }: Pick<Leaf, "serial">, reason = 4): Promise<void> {
  await revoke(ca, {
    authority: "issuing-1",
    serial: Buffer.from(serial, "hex"),
    reason,
    namespace: "/",
    principal: "system",
    requestId: "test",
  });
}

/** What stands in a slot: its row, and the DER of its parts. */
export async function standing(ca: Pick<Ca, "database">, path = "issuing-1") {
  const slot = (await ca.database.read(listCrlSlots)).find((candidate) => candidate.path === path);
  if (!slot?.published) throw new Error(`no CRL stands in ${path}`);
  const parts: Uint8Array[] = [];
  for await (const part of crlParts(ca, slot.published)) parts.push(part);
  const der = Buffer.concat(parts);
  return { ...slot.published, der, whole: createHash("sha256").update(der).digest("hex") === slot.published.sha256 };
}

/** What openssl reads in a CRL: its fields as text, and the serial numbers of its entries, lower-case hex. */
export async function opensslCrl(der: Uint8Array, chain?: string): Promise<{ text: string; serials: string[]; verified: boolean }> {
  return await inDirectory(async (directory) => {
    const file = join(directory, "crl.der");
    await writeFile(file, der);
    const verify = chain === undefined ? [] : ["-CAfile", chain];
    const { stdout, stderr } = await promisify(execFile)("openssl", ["crl", "-inform", "DER", "-in", file, "-noout", "-text", ...verify], {
      maxBuffer: 1e9,
    });
    const serials = [...stdout.matchAll(/^ {4}Serial Number: ([0-9A-F]+)$/gm)].map(([, serial]) => serial?.toLowerCase() ?? "");
    return { text: stdout, serials, verified: `${stdout}${stderr}`.includes("verify OK") };
  });
}

/** The verdict of `openssl verify -crl_check` over a leaf with a CRL: "OK", or the number of its error. */
export async function opensslVerdict(
  leaf: Uint8Array,
  { crl, root, chain, at }: { readonly crl: Uint8Array; readonly root: string; readonly chain: string; readonly at: Date },
): Promise<string> {
  return await inDirectory(async (directory) => {
    const [leafFile, crlFile, derFile] = [join(directory, "leaf.pem"), join(directory, "crl.pem"), join(directory, "crl.der")];
    await writeFile(leafFile, new X509Certificate(leaf).toString());
    await writeFile(derFile, crl);
    await promisify(execFile)("openssl", ["crl", "-inform", "DER", "-in", derFile, "-out", crlFile]);
    const time = String(Math.floor(at.getTime() / 1000));
    const args = ["verify", "-attime", time, "-crl_check", "-CAfile", root, "-untrusted", chain, "-CRLfile", crlFile, leafFile];
    const { stdout, stderr } = await promisify(execFile)("openssl", args).catch((error: { stdout: string; stderr: string }) => error);
    return stdout.includes(": OK") ? "OK" : (/error (\d+) at/.exec(`${stdout}${stderr}`)?.[1] ?? `${stdout}${stderr}`);
  });
}

async function inDirectory<T>(act: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-crl-"));
  try {
    return await act(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
