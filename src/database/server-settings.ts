import { Fault } from "../fault.ts";
import type { Events } from "../ports/events.ts";
import type { Sql } from "./connection.ts";

/**
 * Refuses a server on which an acknowledged row could be lost or the pool could not open.
 * @param poolSize one more connection than these is wanted, for migrations.
 * @throws Fault `refusedToStart` naming the setting and the remedy.
 */
export async function checkServer(sql: Sql, poolSize: number, events: Events): Promise<void> {
  const rows = await sql<{ name: string; setting: string }[]>`select name, setting from pg_settings where name = any(${[...names]})`;
  const settings = new Map(rows.map(({ name, setting }) => [name, setting]));
  const number = (name: (typeof names)[number]) => Number(settings.get(name) ?? "0");

  const version = number("server_version_num");
  if (version < 150_000)
    throw new Fault("refusedToStart", `the database is PostgreSQL ${Math.floor(version / 10_000)}; 15 or newer is required`);
  if (settings.get("fsync") !== "on")
    throw new Fault(
      "refusedToStart",
      "the database runs with fsync=off, which loses acknowledged certificates at a power cut; set fsync=on",
    );
  if (settings.get("synchronous_commit") === "off")
    throw new Fault("refusedToStart", "the database does not let this user set synchronous_commit=on");
  if (settings.get("full_page_writes") !== "on")
    events.tell("warn", "database.failed", { detail: "full_page_writes is off: safe on copy-on-write file systems only" });

  const free = number("max_connections") - number("superuser_reserved_connections") - number("reserved_connections");
  if (poolSize + 1 > free)
    throw new Fault("refusedToStart", `the service wants ${poolSize + 1} connections, and the database has ${free}; raise max_connections`);
}

const names = [
  "server_version_num",
  "fsync",
  "full_page_writes",
  "synchronous_commit",
  "max_connections",
  "superuser_reserved_connections",
  "reserved_connections",
] as const;
