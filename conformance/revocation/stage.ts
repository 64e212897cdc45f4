import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { startEmbedded } from "../../src/database/embedded.ts";
import { freePort, startService, type Service } from "../service.ts";
import type { Condition, Family } from "./method.ts";
import { twoHoursAgo } from "./past.ts";
import { startRelay, type Relay } from "./relay.ts";
import { issueAndRevoke, issueShortLived, type Place } from "./stock.ts";
import { makeStranger, strangersSpecimen, type Stranger } from "./stranger.ts";
import type { Specimen } from "./tool.ts";
import { signUnassigned } from "./unassigned.ts";

/** A service with certificates in every condition, and the public address at which the world meets it. */
export type Stage = AsyncDisposable & {
  readonly service: Service;
  readonly relay: Relay;
  readonly place: Place;
  readonly stranger: Stranger;
  readonly specimens: Readonly<Record<Family, readonly Specimen[]>>;
  /** What the public address answers under `path`. */
  url(path: string): string;
};

/** Into so many shards the CRL is divided for the family `shard`. */
const shards = 4;

/** The paths of all CRLs of the service. */
export const crlPaths = {
  root: "/crl/root-1.crl",
  full: "/crl/issuing-1.crl",
  shards: Array.from({ length: shards }, (_, shard) => `/crl/issuing-1/${shard}.crl`),
} as const;

/** Sets everything up; files lie below `directory`, and `tell` hears what takes seconds. */
export async function setStage(directory: string, tell: (line: string) => void): Promise<Stage> {
  await using opened = new AsyncDisposableStack();
  const dataDirectory = await mkdtemp(join(directory, "data-"));
  const place = { directory, issuer: join(dataDirectory, "chain.pem"), root: join(dataDirectory, "root.pem") };
  const port = await freePort();
  const url = (path: string): string => `http://127.0.0.1:${port}${path}`;
  const settings = { CHANCERY_DATA_DIR: dataDirectory, CHANCERY_STATUS_URL: url(""), CHANCERY_CRL_SHARDS: `server=${shards}` };
  tell("starting a service two hours ago, for certificates that have expired since");
  const databaseDirectory = await mkdtemp(join(directory, "database-"));
  const expired = await twoHoursAgo(settings, databaseDirectory, async (past) => ({
    full: await issueShortLived(past, place, "full"),
    shard: await issueShortLived(past, place, "shard"),
  }));
  tell("starting it now");
  const database = opened.use(await startEmbedded(databaseDirectory));
  const service = opened.use(await startService({ ...settings, DATABASE_URL: database.url }));
  const relay = opened.use(await startRelay(port, service.statusUrl));
  const stranger = await makeStranger(directory, url(crlPaths.root));
  const specimens = await specimensOf(service, { place, stranger, expired });
  const kept = opened.move();
  return { service, relay, place, stranger, specimens, url, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The certificate of that family in that condition. */
export function inCondition({ specimens }: Stage, family: Family, condition: Condition): Specimen {
  const found = specimens[family].find((one) => one.condition === condition);
  if (found === undefined) throw new Error(`no certificate is ${condition}`);
  return found;
}

async function specimensOf(
  service: Service,
  { place, stranger, expired }: { place: Place; stranger: Stranger; expired: Readonly<Record<Family, Specimen>> },
): Promise<Readonly<Record<Family, readonly Specimen[]>>> {
  const family = async (name: Family): Promise<Specimen[]> => {
    const known = await issueAndRevoke(service, place, name);
    const [model] = known;
    if (model === undefined) throw new Error("nothing was issued");
    const unassigned = await signUnassigned(service, place, name, model);
    return [...known, expired[name], unassigned, await strangersSpecimen(stranger, place, name, model)];
  };
  return { full: await family("full"), shard: await family("shard") };
}
