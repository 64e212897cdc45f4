import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inject } from "vitest";
import { build, type Service } from "../../src/app.ts";
import { type Config, loadConfig } from "../../src/config.ts";
import type { Overrides } from "../../src/world.ts";
import { type FreshDatabase, freshDatabase } from "./database.ts";
import { type EmittedStatus, holdEmitted, noting } from "./emitted-status.ts";
import { groundEnv } from "./ground-env.ts";

/** An instance's own directory and database, which outlive the service that is started on them. */
export type Ground = AsyncDisposable & {
  readonly directory: string;
  readonly databaseUrl: string;
  /** The environment that a service or command on this ground is started with. */
  readonly env: Readonly<Record<string, string>>;
  readonly config: Config;
  /** What is said there of certificates' status: held against the tables when the ground is disposed of. */
  readonly emitted: EmittedStatus;
};

/** A data directory and an empty, migrated database: the ceremony is still to come. `settings` are further variables of the environment. */
export async function freshGround(settings: Readonly<Record<string, string>> = {}): Promise<Ground> {
  return await groundOver(await freshDatabase(), settings);
}

/** A ground whose ceremony was held: a copy of the run's one hierarchy, with tokens and rows of its own from there on. */
export async function standingGround(settings: Readonly<Record<string, string>> = {}): Promise<Ground> {
  const { template, directory } = inject("standing");
  const ground = await groundOver(await freshDatabase({ template }), settings);
  await cp(directory, ground.directory, { recursive: true });
  return ground;
}

async function groundOver(database: FreshDatabase, settings: Readonly<Record<string, string>>): Promise<Ground> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-"));
  const env = { ...groundEnv(directory, database.url), ...settings };
  const emitted: EmittedStatus = { responses: [], planted: false };
  return {
    directory,
    databaseUrl: database.url,
    env,
    config: loadConfig({ env, directory }),
    emitted,
    async [Symbol.asyncDispose]() {
      try {
        await holdEmitted(database.url, emitted);
      } finally {
        await database[Symbol.asyncDispose]();
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

/** A service on its ground, with a way to ask it. */
export type TestService = AsyncDisposable & {
  readonly service: Service;
  readonly ground: Ground;
  readonly ask: Ask;
  readonly adminToken: string;
};

/** Starts a service on `ground`, or on a standing one that goes with it. */
export async function startService(overrides: Overrides = {}, ground?: Ground): Promise<TestService> {
  await using stack = new AsyncDisposableStack();
  const own = ground ?? stack.use(await standingGround());
  const service = stack.use(await build(own.config, notingOverrides(overrides, own)));
  const adminToken = (await readFile(join(own.directory, "admin.token"), "utf8")).trim();
  const ask = asking({ port: service.listeners.tls.port, ca: await readFile(join(own.directory, "root.pem"), "utf8"), token: adminToken });
  const held = stack.move();
  return { service, ground: own, ask, adminToken, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** The overrides, with a token underneath that remembers what is said on the ground of certificates' status. */
export function notingOverrides(overrides: Overrides, { emitted }: Pick<Ground, "emitted">): Overrides {
  return {
    ...overrides,
    hsm: (hsm) => {
      const noted = noting(hsm, emitted);
      return overrides.hsm?.(noted) ?? noted;
    },
  };
}

export type Question = {
  readonly method?: string;
  /** Sent as JSON, unless it is text or bytes. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the administrator's; null: none. */
  readonly token?: string | null;
};

export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body as JSON. */
  readonly json: () => Record<string, unknown>;
};

/** Asks the TLS listener, trusting its root alone. Rejects when there is no answer. */
export type Ask = (path: string, question?: Question) => Promise<Answer>;

/** A client of the TLS listener on `port`. */
export function asking({ port, ca, token }: { port: number; ca: string; token: string }): Ask {
  return (path, question = {}) =>
    new Promise((resolve, reject) => {
      const { body } = question;
      const raw = body === undefined || typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
      const credential = question.token === undefined ? token : question.token;
      const outgoing = request({
        host: "127.0.0.1",
        port,
        servername: "localhost",
        ca,
        path,
        method: question.method ?? (raw === undefined ? "GET" : "POST"),
        headers: {
          ...(credential !== null && { authorization: `Bearer ${credential}` }),
          ...(raw !== undefined && { "content-type": "application/json", "content-length": String(Buffer.byteLength(raw)) }),
          ...question.headers,
        },
      });
      outgoing.on("error", reject);
      outgoing.on("response", (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            text,
            json: () => JSON.parse(text) as Record<string, unknown>,
          });
        });
      });
      outgoing.end(raw);
    });
}

/** A PKCS#10 request for DNS names, made by openssl with a new P-256 key: PEM of both. */
export async function opensslRequest(...names: string[]): Promise<{ csr: string; key: string }> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-csr-"));
  try {
    const key = join(directory, "key.pem");
    const san = `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`;
    const args = [
      "req",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-subj",
      "/",
      "-addext",
      san,
      "-keyout",
      key,
    ];
    const { stdout } = await promisify(execFile)("openssl", args);
    return { csr: stdout, key: await readFile(key, "utf8") };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
