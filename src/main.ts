import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./cli/program.ts";
import type { RecordedKey, Trials } from "./cli/shell.ts";
import type { Config } from "./config.ts";
import type { Database } from "./database/connect.ts";

// A reader that has seen enough, such as `head`, closes the pipe: that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  checkout: dirname(dirname(fileURLToPath(import.meta.url))),
  now: () => new Date(),
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
  trials: openTrials(),
});

/** Each part is loaded when it is tried. */
function openTrials(): Trials {
  return {
    async tokens(config) {
      const [{ listTokens }, { moduleOptions }] = await Promise.all([import("./hsm/token.ts"), import("./provision.ts")]);
      if (config.env !== "evaluation" || existsSync(join(config.dataDir, "tokens"))) return listTokens(await moduleOptions(config));
      // A trial makes no directory: the module of an evaluation that has none for its tokens yet looks for them in an empty one.
      const empty = await mkdtemp(join(tmpdir(), "chancery-"));
      try {
        return await listTokens(await moduleOptions({ ...config, dataDir: empty }));
      } finally {
        await rm(empty, { recursive: true, force: true });
      }
    },
    async login(config) {
      const { openToken } = await import("./world.ts");
      await using hsm = await openToken({ config, events: { tell() {}, measure() {} } }, "issuing");
      return await hsm.list();
    },
    async adminToken(config) {
      const { examineAdminToken } = await import("./admin-token.ts");
      return examineAdminToken(config, { events: () => ({ tell() {}, measure() {} }) });
    },
    async database(config, url) {
      const [{ openDatabase }, { pendingMigrations }, { readRevokedAuthorities }] = await Promise.all([
        import("./database/connect.ts"),
        import("./database/migrate.ts"),
        import("./ca/stop-store.ts"),
      ]);
      const warnings: string[] = [];
      const events = {
        tell: (level: string, _event: string, fields?: Readonly<Record<string, unknown>>) =>
          void (level === "warn" && warnings.push(String(fields?.["detail"]))),
        measure() {},
      };
      await using database = await openDatabase(
        { url, poolSize: config.databasePool, production: config.env === "production" },
        { events },
      );
      const pending = await pendingMigrations(database);
      const keys = pending.length > 0 ? undefined : await recordedKeys(config, database);
      const revokedAuthorities = pending.length > 0 ? undefined : await database.read(readRevokedAuthorities);
      return { warnings, skewSeconds: await database.clockSkewSeconds(), pendingMigrations: pending, keys, revokedAuthorities };
    },
  };
}

/** The keys of the issuing token, each by its authority where it is one's. */
async function recordedKeys({ pkcs11Token, statusUrl }: Config, database: Database): Promise<RecordedKey[]> {
  const [{ keyText, openAuthorities }, { listKeyPairs }] = await Promise.all([
    import("./ca/open-authorities.ts"),
    import("./custody/store.ts"),
  ]);
  const authorities = await openAuthorities(database, statusUrl);
  const pairs = await database.transact((tx) => listKeyPairs(tx, pkcs11Token));
  return pairs.map(({ name, reference }) => ({ name: keyText(authorities, name), ckaId: reference.ckaId }));
}
