import { createHash, generateKeyPairSync, type JsonWebKey } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf } from "../conformance/execute.ts";
import { cacheDirectory } from "../conformance/peers.ts";
import { freePort } from "../conformance/service.ts";

/** A running step-ca with a P-256 root and intermediate and a JWK provisioner. */
export type StepCa = AsyncDisposable & {
  readonly processId: number;
  readonly url: string;
  readonly rootFile: string;
  readonly provisioner: string;
  /** PKCS #8 PEM of the provisioner's key. */
  readonly keyFile: string;
  /** URL of the directory of its ACME provisioner. */
  readonly acmeDirectory: string;
};

/** Where step-ca keeps its rows, an embedded store unless it is told a PostgreSQL, and where it meets challenges. */
export type StepCaOptions = {
  readonly databaseUrl?: string;
  readonly http01Port?: number;
  /** HOST:PORT of the name server. */
  readonly resolver?: string;
};

const program = join(cacheDirectory, "step/bin/step-ca");

/** How to have the peer, for the line that says it is absent: the bench itself builds nothing that takes minutes. */
export const stepCaInstallation = `CGO_ENABLED=0 GOBIN=${join(cacheDirectory, "step/bin")} go install github.com/smallstep/certificates/cmd/step-ca@v0.30.2`;

/** Starts step-ca where its build is cached, otherwise undefined. Disposal ends it and removes its data. */
export async function startStepCa({ databaseUrl, http01Port, resolver }: StepCaOptions = {}): Promise<StepCa | undefined> {
  if (!existsSync(program)) return undefined;
  const directory = await mkdtemp(join(tmpdir(), "chancery-step-"));
  const port = await freePort();
  await certificates(directory);
  const keyFile = join(directory, "provisioner.key");
  const provisioner = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(keyFile, provisioner.privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const publicKey = provisioner.publicKey.export({ format: "jwk" });
  const configuration = settings({ directory, port, publicKey, databaseUrl });
  await writeFile(join(directory, "ca.json"), JSON.stringify(configuration));
  // Another port than 80 is for tests alone, as it says.
  const meets = http01Port === undefined ? [] : ["--acme-http-port", String(http01Port), "--insecure"];
  const asks = resolver === undefined ? [] : ["--resolver", resolver];
  const child = spawn(program, [...meets, ...asks, join(directory, "ca.json")], { stdio: ["ignore", "ignore", "pipe"] });
  const words: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => words.length < 50 && words.push(chunk.toString()));
  const ended = once(child, "exit");
  const stepCa: StepCa = {
    processId: child.pid ?? 0,
    url: `https://localhost:${port}`,
    rootFile: join(directory, "root.pem"),
    provisioner: "bench",
    keyFile,
    acmeDirectory: `https://localhost:${port}/acme/acme/directory`,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
  for (let attempt = 0; attempt < 100 && child.exitCode === null; attempt++) {
    if (await healthy(stepCa)) return stepCa;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await stepCa[Symbol.asyncDispose]();
  throw new Error(`step-ca does not start: ${words.join("").slice(-2000)}`);
}

type Settings = {
  readonly directory: string;
  readonly port: number;
  readonly publicKey: JsonWebKey;
  readonly databaseUrl: string | undefined;
};

function settings({ directory, port, publicKey, databaseUrl }: Settings): Record<string, unknown> {
  const { crv, kty, x, y } = publicKey;
  // The thumbprint of RFC 7638 §3 names the key in tokens.
  const kid = createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
  return {
    root: join(directory, "root.pem"),
    crt: join(directory, "intermediate.pem"),
    key: join(directory, "intermediate.key"),
    address: `127.0.0.1:${port}`,
    dnsNames: ["localhost"],
    logger: { format: "text" },
    db:
      databaseUrl === undefined
        ? { type: "badgerv2", dataSource: join(directory, "db") }
        : { type: "postgresql", dataSource: databaseUrl, database: "step" },
    authority: {
      provisioners: [
        { type: "JWK", name: "bench", key: { use: "sig", alg: "ES256", kid, crv, kty, x, y } },
        { type: "ACME", name: "acme" },
      ],
    },
    tls: { minVersion: 1.2, maxVersion: 1.3 },
  };
}

async function certificates(directory: string): Promise<void> {
  await mkdir(join(directory, "db"));
  const file = (name: string): string => join(directory, name);
  const key = (name: string): string[] => ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file(name)];
  const lifetime = ["-days", "30"];
  // `req -x509` adds CA:TRUE of its own configuration; an empty one leaves the extensions to the command line.
  await writeFile(file("empty.cnf"), "[req]\ndistinguished_name=name\n[name]\n");
  const request = ["req", "-x509", "-config", file("empty.cnf"), ...lifetime];
  await outputOf("openssl", [
    ...request,
    ...key("root.key"),
    "-subj",
    "/CN=Bench Root",
    ...caExtensions("CA:TRUE"),
    "-out",
    file("root.pem"),
  ]);
  const signer = ["-CA", file("root.pem"), "-CAkey", file("root.key")];
  const subordinate = [
    "-subj",
    "/CN=Bench Intermediate",
    ...caExtensions("CA:TRUE,pathlen:0"),
    ...signer,
    "-out",
    file("intermediate.pem"),
  ];
  await outputOf("openssl", [...request, ...key("intermediate.key"), ...subordinate]);
}

function caExtensions(constraints: string): string[] {
  return ["-addext", `basicConstraints=critical,${constraints}`, "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
}

async function healthy({ url, rootFile }: StepCa): Promise<boolean> {
  const ca = await readFile(rootFile);
  return new Promise((resolve) => {
    get(`${url}/health`, { ca }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on("error", () => resolve(false));
  });
}
