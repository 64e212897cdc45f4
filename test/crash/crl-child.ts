import { loadConfig } from "../../src/config.ts";
import { openCa } from "../../src/ca/ca.ts";
import { openAuthorities } from "../../src/ca/open-authorities.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { openToken } from "../../src/world.ts";
import { failpoints } from "../support/failpoints.ts";
import { clockOf } from "../support/clock.ts";

/** Publishes a CRL, and ends by SIGKILL at the point that its argument names. */
const point = process.argv[2];
const config = loadConfig({ env: process.env, directory: process.cwd() });
const events = { tell() {}, measure() {} };
const points = failpoints((reached) => {
  if (reached === point) process.kill(process.pid, "SIGKILL");
});
await using store = await openDatabase({ url: config.databaseUrl ?? "", poolSize: 2 }, { events });
await using token = await openToken({ config, events }, "issuing");
const world = {
  database: points.database(store),
  hsm: points.hsm(token),
  clock: clockOf(() => new Date(Date.now() + Number(process.argv[3]) * 1000)),
  random: { bytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)) },
  events,
  node: "child",
  authorities: await openAuthorities(store, config.statusUrl),
};
const ca = await openCa({ ...world, ownHost: undefined, guard: (sql) => sql`true` });
await publishCrl(ca, "issuing-1");
