import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Principal } from "./access/principal.ts";
import type { TokenRecord } from "./access/store.ts";
import { type AccessWorld, openAccess, readStanding } from "./access/token.ts";
import type { Config } from "./config.ts";
import { runningEmbedded } from "./database/embedded.ts";
import { makeDirectory, replaceFile } from "./durable-file.ts";
import { openWorldBeside, type Overrides } from "./world.ts";

/** Where a data directory keeps its administrator's token. */
export function adminTokenFile({ dataDir }: Config): string {
  return join(dataDir, "admin.token");
}

/**
 * Makes an admin token of `/` for a year and puts it into the data directory, in place of what stands there.
 * Durable on return; ended half-way, it leaves a token whose text nobody has.
 */
export async function writeAdminToken(world: AccessWorld & { readonly config: Config }, maker: string): Promise<TokenRecord> {
  const principal: Principal = { id: maker, namespace: "/", role: "admin" };
  const expiresAt = new Date(world.clock.now().getTime() + lifetimeMs);
  const { token, ...created } = await openAccess(world).createToken(principal, { role: "admin", namespace: "/", expiresAt });
  await replaceFile(adminTokenFile(world.config), { content: `${token}\n`, mode: 0o600 });
  return created;
}

const lifetimeMs = 365 * 86_400_000;

/** A valid token, as far as its text does not tell. */
export type Standing = Pick<TokenRecord, "id" | "expiresAt">;

/** What a recovery did. */
export type Recovery = {
  readonly file: string;
  readonly created: TokenRecord;
  /** The token that stood in the file, where it is valid all the same. */
  readonly replaced?: Standing;
};

/**
 * Writes a new administrator's token with the database alone, beside a running service or without one. Who may do so reaches the database already,
 * and its audit record names the user of this machine.
 * @throws Fault as `openWorldBeside`; the system's error when the data directory cannot be written to, and then no token is made.
 */
export async function recoverAdminToken(config: Config, overrides: Overrides = {}): Promise<Recovery> {
  await using stack = new AsyncDisposableStack();
  const world = await openWorldBeside(config, overrides, stack);
  const file = adminTokenFile(config);
  makeDirectory(config.dataDir, 0o700);
  await access(config.dataDir, constants.W_OK | constants.X_OK);
  const text = await readFile(file, "utf8").catch(() => "");
  const replaced = await readStanding(world, text.trim());
  const created = await writeAdminToken({ ...world, config }, `host:${process.geteuid?.() ?? "unknown"}`);
  return { file, created, ...(replaced && { replaced }) };
}

/**
 * How the administrator's token of the data directory stands: `invalid` when it is unknown, wrong, expired or revoked, or there is none in the file;
 * undefined where the embedded database does not run, which is not started for a question.
 * @throws Fault as `openWorldBeside`.
 */
export async function examineAdminToken(config: Config, overrides: Overrides = {}): Promise<Standing | "invalid" | undefined> {
  const url = config.databaseUrl ?? (await runningEmbedded(config.dataDir));
  if (url === undefined) return undefined;
  await using stack = new AsyncDisposableStack();
  const world = await openWorldBeside({ ...config, databaseUrl: url }, overrides, stack);
  return (await readStanding(world, (await readFile(adminTokenFile(config), "utf8")).trim())) ?? "invalid";
}
