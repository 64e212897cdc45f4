import { fork } from "node:child_process";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { issue } from "../conformance/certificates.ts";
import { outputOf } from "../conformance/execute.ts";
import { checkout, pkcs11Module, startService, type Service } from "../conformance/service.ts";
import { chancery } from "./chancery.ts";
import { calibration, machine, type Machine } from "./machine.ts";
import { type Aim, aimsList, markdown } from "./markdown.ts";
import { median, medians } from "./median.ts";
import { makeOpensslAuthority, startOpensslResponder } from "./openssl-responder.ts";
import { startSigner } from "./signer.ts";
import { measureWindow, type Contestant, type Measurement, type Part } from "./window.ts";

const cached = { callers: 16, requests: 60_000 };
const live = { callers: 32, requests: 20_000 };

const names = ["kept, by GET", "bare node:http", "signed live", "openssl ocsp", "openssl ocsp -multi 2"] as const;
type Name = (typeof names)[number];
type Figures = { readonly measured: Readonly<Record<Name, Measurement[]>>; readonly raw: number[] };

/**
 * OCSP answers: a kept one by GET beside the same octets by bare node:http, and signed ones with a nonce beside the token alone and
 * `openssl ocsp`, whose key is in memory. All in one run, contestants alternating.
 */
export async function measureOcsp({ load, directory, quick, tell }: Part): Promise<void> {
  const rounds = quick ? 1 : 5;
  const circumstances = { ...machine(), rounds };
  await using cleanup = new AsyncDisposableStack();
  // Every client of the bench is one to the service: its budget of answers with a nonce is not what is measured.
  const service = cleanup.use(await startService({ CHANCERY_LOG_LEVEL: "warn", CHANCERY_OCSP_NONCES_PER_SECOND: "1000000" }));
  const ours = await entrants(service, directory);
  const bare = cleanup.use(await startBare(join(directory, "response.der")));
  const authority = await makeOpensslAuthority(join(directory, "openssl"));
  const asked = await nonceMessages({ ...authority, path: "/", version: "HTTP/1.0" }, join(directory, "openssl", "messages"));
  const single = cleanup.use(await startOpensslResponder(authority, 1));
  const double = cleanup.use(await startOpensslResponder(authority, 2));
  const raw = cleanup.use(await startSigner("raw-sign.ts", { module: pkcs11Module(), tbs: randomBytes(300) }));

  const contestants: readonly { readonly name: Name; readonly contestant: Contestant; readonly window: typeof cached }[] = [
    { name: "kept, by GET", contestant: ours.kept, window: cached },
    { name: "bare node:http", contestant: status("bare node:http", { ...bare, messages: ours.keptMessages }), window: cached },
    { name: "signed live", contestant: ours.live, window: live },
    { name: "openssl ocsp", contestant: status("openssl ocsp", { ...single, messages: asked }), window: live },
    { name: "openssl ocsp -multi 2", contestant: status("openssl ocsp -multi 2", { ...double, messages: asked }), window: live },
  ];
  const figures: Figures = {
    measured: { "kept, by GET": [], "bare node:http": [], "signed live": [], "openssl ocsp": [], "openssl ocsp -multi 2": [] },
    raw: [],
  };
  tell("warming up");
  for (const { contestant, window } of contestants) await measureWindow(load, contestant, { ...window, requests: window.requests / 4 });
  for (let round = 1; round <= rounds; round++) {
    figures.raw.push(await raw.rate({ signatures: 10_000, callers: 1 }));
    for (const { name, contestant, window } of round % 2 === 1 ? contestants : contestants.toReversed()) {
      const measured = await measureWindow(load, contestant, quick ? { ...window, requests: window.requests / 4 } : window);
      figures.measured[name].push(measured);
      tell(`round ${round}, ${window.callers} callers, ${name}: ${measured.perSecond.toFixed(0)}/s, p99 ${measured.p99Ms.toFixed(1)} ms`);
    }
  }
  const text = report(figures, circumstances);
  await mkdir(join(checkout, "bench/report"), { recursive: true });
  await writeFile(join(checkout, "bench/report/ocsp.md"), `# OCSP answers\n\n${text}\n`);
  await writeFile(join(checkout, "bench/report/ocsp.json"), `${JSON.stringify({ circumstances, ...figures }, undefined, 2)}\n`);
  tell(`\n${text}`);
}

/** The service asked for one answer again and again, and for answers with a nonce; the answer that it keeps stands in `response.der`. */
async function entrants(service: Service, directory: string) {
  const key = join(directory, "leaf.key");
  await outputOf("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
  const { certificate, chain } = await issue(service, { profile: "server", key, name: "bench.example.org" });
  await Promise.all([writeFile(join(directory, "leaf.pem"), certificate), writeFile(join(directory, "chain.pem"), chain)]);
  const issuer = join(directory, "chain.pem");
  const serial = (await outputOf("openssl", ["x509", "-in", join(directory, "leaf.pem"), "-noout", "-serial"]))
    .trim()
    .replace("serial=", "");

  const der = await opensslRequest(directory, ["-no_nonce", "-issuer", issuer, "-serial", `0x${serial}`]);
  const path = `/ocsp/issuing-1/${encodeURIComponent(der.toString("base64"))}`;
  await writeFile(join(directory, "response.der"), await get(`${service.statusUrl}${path}`));
  const keptMessages = join(directory, "kept.messages");
  await writeMessages(keptMessages, [Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)]);
  const liveMessages = await nonceMessages(
    { directory, issuer, serial, path: "/ocsp/issuing-1", version: "HTTP/1.1" },
    join(directory, "live.messages"),
  );
  const { processes } = await chancery(service, []);
  const port = Number(new URL(service.statusUrl).port);
  const of = (name: string, messages: string): Contestant => ({ ...status(name, { port, messages, processId: 0 }), processes });
  return { kept: of("kept, by GET", keptMessages), live: of("signed live", liveMessages), keptMessages };
}

/** Somebody who answers the HTTP requests of a file on a port; see bench/load/status.go. */
export function status(name: string, { port, messages, processId }: { port: number; messages: string; processId: number }): Contestant {
  return { name, parameters: ["-server", "status", "-address", `127.0.0.1:${port}`, "-messages", messages], processes: [processId] };
}

/** DER OCSPRequest as `openssl ocsp` with these words writes it; a file of `directory` holds it. */
export async function opensslRequest(directory: string, words: readonly string[]): Promise<Buffer> {
  const file = join(directory, "request.der");
  await outputOf("openssl", ["ocsp", ...words, "-reqout", file]);
  return await readFile(file);
}

type About = {
  readonly directory: string;
  readonly issuer: string;
  readonly serial: string;
  readonly path: string;
  /** HTTP/1.0 ends a connection with its answer: each process of openssl serves one connection until it is over. */
  readonly version: "HTTP/1.0" | "HTTP/1.1";
};

/** A file of POSTs about one certificate, each with a nonce of its own, which the request ends with. */
async function nonceMessages({ directory, issuer, serial, path, version }: About, file: string): Promise<string> {
  const der = await opensslRequest(directory, ["-nonce", "-issuer", issuer, "-serial", `0x${serial}`]);
  const head = `POST ${path} ${version}\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\nContent-Length: ${der.length}\r\n\r\n`;
  const messages = Array.from({ length: 2_000 }, () => Buffer.concat([Buffer.from(head), der.subarray(0, -16), randomBytes(16)]));
  await writeMessages(file, messages);
  return file;
}

/** Writes HTTP requests as the load client reads them. */
export async function writeMessages(file: string, messages: readonly Buffer[]): Promise<void> {
  await writeFile(file, messages.map((message) => `${message.toString("base64")}\n`).join(""));
}

/** The body of the answer to a GET. */
export async function get(url: string): Promise<Buffer> {
  const sent = request(url).end();
  const [response] = await once(sent, "response");
  return await buffer(response);
}

/** Bare node:http in a process of its own; answers with what stands in `file`. */
export async function startBare(file: string): Promise<AsyncDisposable & { readonly port: number; readonly processId: number }> {
  const child = fork(fileURLToPath(new URL("bare-http.ts", import.meta.url)), [file]);
  const ended = once(child, "exit");
  const [message] = (await once(child, "message")) as [{ port: number }]; // what bare-http.ts sends
  return {
    port: message.port,
    processId: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await ended;
    },
  };
}

/** The figures as Markdown: medians of the rounds, and the ratios within this run. */
function report({ measured, raw }: Figures, circumstances: Machine & { readonly rounds: number }): string {
  const rate = (name: Name): number => medians(measured[name]).perSecond;
  const rows = names.map((name) => {
    const { perSecond, p50Ms, p99Ms, cpuMsEach } = medians(measured[name]);
    const window = name === "kept, by GET" || name === "bare node:http" ? cached : live;
    return {
      what: name,
      callers: window.callers,
      "answers/s": perSecond.toFixed(0),
      "p50 ms": p50Ms.toFixed(2),
      "p99 ms": p99Ms.toFixed(2),
      "CPU ms each": cpuMsEach.toFixed(3),
    };
  });
  const signing = rate("signed live");
  return [
    markdown(rows),
    "",
    `The token alone: ${median(raw).toFixed(0)} signatures/s (C_Sign of pkcs11js in a loop, P-256).`,
    `Median of ${circumstances.rounds}, contestants alternating; ${circumstances.cores} cores shared with the load client, which is the same for all. Connections are kept`,
    "where the server keeps them: openssl closes each. Ours reads the status from PostgreSQL and verifies each signature; openssl has an index of one line in memory.",
    aimsList([
      ratio("a bare node:http answer of that size, kept", 0.8, rate("kept, by GET") / rate("bare node:http")),
      ratio("the token's raw rate, signed live", 0.8, signing / median(raw)),
      ratio("openssl ocsp, signed live", 1, signing / rate("openssl ocsp")),
      ratio("openssl ocsp -multi 2, signed live", 1, signing / rate("openssl ocsp -multi 2")),
    ]),
    calibration(circumstances),
  ].join("\n");
}

function ratio(aim: string, least: number, value: number): Aim {
  return { aim: `at least ${least} × ${aim}`, value, met: value >= least };
}
