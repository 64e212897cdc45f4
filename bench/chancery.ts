import type { Service } from "../conformance/service.ts";
import { openDatabase } from "../src/database/connect.ts";
import { runningEmbedded } from "../src/database/embedded.ts";
import { postmaster } from "./processes.ts";
import type { Contestant } from "./window.ts";

/** Ourselves, with the processes of our PostgreSQL; `parameters` choose the interface. */
export async function chancery(service: Service, parameters: readonly string[]): Promise<Contestant> {
  const database = await postmaster(service.dataDirectory);
  return {
    name: "chancery",
    parameters: [...parameters, "-ca", service.rootFile],
    processes: [service.processId, ...(database === undefined ? [] : [database])],
    roundTrips: () => roundTrips(service),
    commits: () => commits(service),
  };
}

async function roundTrips({ opsUrl }: Service): Promise<number> {
  const metrics = await (await fetch(`${opsUrl}/metrics`)).text();
  const found = /^chancery_database_round_trips_total(?:\{[^}]*\})? (\S+)/m.exec(metrics)?.[1];
  if (found === undefined) throw new Error("/metrics has no chancery_database_round_trips_total");
  return Number(found);
}

/**
 * Transactions that have written. pg_stat_database hears of a transaction only when its backend reports, up to ten seconds later; a
 * transaction id is given to each that writes, and to no other, at once.
 */
async function commits({ dataDirectory }: Service): Promise<number> {
  const url = await runningEmbedded(dataDirectory);
  if (url === undefined) throw new Error("the service has no PostgreSQL of its own");
  await using database = await openDatabase({ url, poolSize: 2 }, { events: { tell: () => undefined, measure: () => undefined } });
  const [row] = await database.read((sql) => sql<{ next: string }[]>`select pg_snapshot_xmax(pg_current_snapshot())::text as next`);
  return Number(row?.next);
}
