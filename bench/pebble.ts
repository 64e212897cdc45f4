import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf } from "../conformance/execute.ts";
import { cacheDirectory } from "../conformance/peers.ts";
import { freePort } from "../conformance/service.ts";

/** A running Pebble, which keeps everything in memory and signs with a P-256 key. */
export type Pebble = AsyncDisposable & {
  readonly processId: number;
  readonly acmeDirectory: string;
  /** Its own TLS certificate, which is trusted as it is. */
  readonly rootFile: string;
};

const program = join(cacheDirectory, "bin/pebble");
const programModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1";

/** Whether Pebble is in the cache; it is put there where it is not yet. `tell` hears why it cannot be. */
export async function hasPebble(tell: (line: string) => void): Promise<boolean> {
  if (existsSync(program)) return true;
  const environment = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOBIN: join(cacheDirectory, "bin") };
  try {
    await outputOf("go", ["install", programModule], { environment, limitSeconds: 300 });
    return true;
  } catch (error) {
    tell(`Pebble is left out, for it cannot be installed: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

/** Starts a Pebble that neither sleeps, nor refuses good nonces, nor takes an old authorization. Disposal ends it. */
export async function startPebble({ http01Port, resolver }: { http01Port: number; resolver: string }): Promise<Pebble> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-pebble-"));
  const port = await freePort();
  const file = (name: string): string => join(directory, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file("tls.key")];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
  await outputOf("openssl", ["req", "-x509", ...key, ...names, "-out", file("tls.pem")]);
  const pebble = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: "",
    certificate: file("tls.pem"),
    privateKey: file("tls.key"),
    httpPort: http01Port,
    tlsPort: 443,
    keyAlgorithm: "ecdsa",
  };
  await writeFile(file("pebble.json"), JSON.stringify({ pebble }));
  const child = spawn(program, ["-config", file("pebble.json"), "-dnsserver", resolver], {
    env: { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0", PEBBLE_AUTHZREUSE: "0" },
    stdio: "ignore",
  });
  const ended = once(child, "exit");
  const running: Pebble = {
    processId: child.pid ?? 0,
    acmeDirectory: `https://localhost:${port}/dir`,
    rootFile: file("tls.pem"),
    async [Symbol.asyncDispose]() {
      // It may hang: it is not asked to end.
      child.kill("SIGKILL");
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
  for (let attempt = 0; attempt < 100 && child.exitCode === null; attempt++) {
    if (await accepts(port)) return running;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await running[Symbol.asyncDispose]();
  throw new Error("Pebble does not start");
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
