import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { parseDatabaseUrl } from "../../src/database/address.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { freshDatabase, type FreshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";

let fresh: FreshDatabase;
let credentials: { key: Buffer; cert: Buffer };
beforeAll(async () => {
  fresh = await freshDatabase();
  const directory = mkdtempSync(join(tmpdir(), "chancery-tls-"));
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  execFileSync("openssl", ["req", "-x509", ...curve, ...subject, "-keyout", key, "-out", cert], { stdio: "ignore" });
  credentials = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(directory, { recursive: true });
});
afterAll(() => fresh[Symbol.asyncDispose]());

/** Ends TLS in front of the server, as PostgreSQL does it: SSLRequest, one byte of answer, handshake. `answer` gives the byte, or more of them. */
async function front(answer: string, sslmode: string, seen: { encrypted: boolean } = { encrypted: false }): Promise<string> {
  const { host, port, user, database } = parseDatabaseUrl(fresh.url);
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", (request) => {
      // PostgreSQL 18, 54.7: SSLRequest is Int32(8), Int32(80877103).
      if (request.readUInt32BE(4) !== 80_877_103) return socket.destroy();
      socket.write(answer);
      const secure = new TLSSocket(socket, { isServer: true, ...credentials });
      const upstream = connect(host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port });
      sockets.add(upstream);
      secure.on("secure", () => (seen.encrypted = true));
      for (const [from, to] of [
        [secure, upstream],
        [upstream, secure],
      ] as const) {
        from.on("error", () => to.destroy());
        from.pipe(to);
      }
    });
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return `postgresql:///${database}?host=127.0.0.1&port=${address.port}&user=${user}&sslmode=${sslmode}`;
}

test("sslmode=require encrypts, whoever answers", async () => {
  const seen = { encrypted: false };
  const url = await front("S", "require", seen);
  await using database = await openDatabase({ url, poolSize: 2 }, { events: recordedEvents() });
  expect(await database.read((sql) => sql`select repeat('x', 100000) as text`.then((rows) => rows[0]?.["text"].length))).toBe(100_000);
  expect(seen.encrypted).toBe(true);
});

test("a silent server ends the connection at the deadline under TLS too (DB-2)", async () => {
  await using database = await openDatabase({ url: await front("S", "require"), deadlineMs: 300 }, { events: recordedEvents() });
  await expect(database.read((sql) => sql`select pg_sleep(3)`)).rejects.toMatchObject({ code: "databaseUnavailable" });
  expect(await database.read((sql) => sql`select 1`)).toHaveLength(1);
});

test.for([
  {
    name: "sslmode=verify-full refuses a certificate that nobody vouches for",
    answer: "S",
    sslmode: "verify-full",
    code: "refusedToStart",
  },
  { name: "a server without TLS is refused, not talked to in the clear", answer: "N", sslmode: "require", code: "refusedToStart" },
  { name: "bytes before the handshake are refused (CVE-2021-23222)", answer: "SX", sslmode: "require", code: "refusedToStart" },
])("$name", async ({ answer, sslmode, code }) => {
  const url = await front(answer, sslmode);
  await expect(openDatabase({ url }, { events: recordedEvents() })).rejects.toMatchObject({ code });
});
