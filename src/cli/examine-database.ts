import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { Fault } from "../fault.ts";
import type { Running } from "./examine-listeners.ts";
import type { Finding } from "./finding.ts";
import type { RecordedKey, Trials } from "./shell.ts";

/** Beyond this the service signs nothing, so that two machines do not issue with times that contradict each other. */
const toleratedSkewSeconds = 5;

/** What was found of the database, and the keys that it records in the issuing token; `keys` is absent where it could not be asked for them. */
export type DatabaseExamination = { readonly findings: readonly Finding[]; readonly keys?: readonly RecordedKey[] | undefined };

/** The database: reachable, durable, migrated, its clock ours. The embedded one is asked through the service that runs it. */
export async function examineDatabase(config: Config, trials: Trials, running: Running | undefined): Promise<DatabaseExamination> {
  if (config.databaseUrl !== undefined) return examineServer(config, config.databaseUrl, trials);
  if (!running) return examineEmbedded(config.dataDir);
  const findings = running.checks
    .filter(({ name }) => name !== "hsm")
    .map(({ name, ready, detail }): Finding => ({ check: name, verdict: ready ? "ok" : "wrong", detail }));
  return { findings };
}

async function examineServer(config: Config, url: string, trials: Trials): Promise<DatabaseExamination> {
  const check = "database";
  try {
    const { warnings, skewSeconds, pendingMigrations, keys, revokedAuthorities } = await trials.database(config, url);
    const findings: Finding[] = [
      { check, verdict: "ok", detail: "reachable, fsync on" },
      ...warnings.map((detail): Finding => ({ check, verdict: "warning", detail })),
      clockFinding(skewSeconds),
      migrationsFinding(pendingMigrations),
      ...(revokedAuthorities ? [issuersFinding(revokedAuthorities)] : []),
    ];
    return { findings, keys };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const remedy = error.code === "databaseUnavailable" ? ": start the database, or correct DATABASE_URL" : "";
    return { findings: [{ check, verdict: "wrong", detail: `${error.detail}${remedy}` }] };
  }
}

function clockFinding(skewSeconds: number): Finding {
  const shown = `${Math.abs(skewSeconds).toFixed(1)} s ${skewSeconds < 0 ? "behind" : "ahead of"} the database's`;
  return Math.abs(skewSeconds) > toleratedSkewSeconds
    ? {
        check: "clock",
        verdict: "wrong",
        detail: `this machine's clock is ${shown}, more than ${toleratedSkewSeconds} s: synchronise both (NTP)`,
      }
    : { check: "clock", verdict: "ok", detail: shown };
}

function migrationsFinding(pending: readonly string[]): Finding {
  const check = "migrations";
  return pending.length === 0
    ? { check, verdict: "ok", detail: "all applied" }
    : {
        check,
        verdict: "warning",
        detail: `not applied yet: ${pending.join(", ")}; npx chancery migrate applies them, and so does the next start`,
      };
}

function issuersFinding(revoked: readonly string[]): Finding {
  const check = "issuers";
  if (revoked.length === 0) return { check, verdict: "ok", detail: "no authority is revoked" };
  return {
    check,
    verdict: "wrong",
    detail: `${revoked.join(", ")}: the certificate is revoked, so nothing is issued any more; certificates come from another authority, CRLs and OCSP go on`,
  };
}

async function examineEmbedded(dataDir: string): Promise<DatabaseExamination> {
  const check = "database";
  const cluster = join(dataDir, "postgres", "data");
  const version = await readFile(join(cluster, "PG_VERSION"), "utf8").then(
    (text) => text.trim(),
    () => undefined,
  );
  return version === undefined
    ? { findings: [{ check, verdict: "ok", detail: "embedded PostgreSQL, not there yet: the first start makes it" }], keys: [] }
    : { findings: [{ check, verdict: "ok", detail: `embedded PostgreSQL ${version} in ${cluster}; it runs while the service does` }] };
}
