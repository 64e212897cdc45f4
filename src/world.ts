import { hostname } from "node:os";
import type { Config } from "./config.ts";
import { takeDataDirectory } from "./data-directory.ts";
import { type Database, openDatabase } from "./database/connect.ts";
import { hasEmbedded, runningEmbedded, startEmbedded } from "./database/embedded.ts";
import { migrate, pendingMigrations } from "./database/migrate.ts";
import { Fault } from "./fault.ts";
import { openHsm } from "./hsm/client.ts";
import type { TokenOptionNames } from "./hsm/supervisor.ts";
import { openEvents } from "./observe/events.ts";
import { openLog } from "./observe/log.ts";
import { type Metrics, openMetrics } from "./observe/metrics.ts";
import type { Clock } from "./ports/clock.ts";
import type { Events } from "./ports/events.ts";
import type { Hsm } from "./ports/hsm.ts";
import type { Random } from "./ports/random.ts";
import type { Validator } from "./ports/validator.ts";
import { moduleOptions, provisionEvaluation, readPin } from "./provision.ts";

/** What a test may put in place of the world, and where it may fail on purpose. */
export type Overrides = {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly events?: (events: Events) => Events;
  readonly hsm?: (hsm: Hsm) => Hsm;
  readonly database?: (database: Database) => Database;
  readonly validator?: (validator: Validator) => Validator;
};

/** What every act of this instance stands on, but for the token. */
export type World = {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly metrics: Metrics;
  /** The name of this machine, for audit records. */
  readonly node: string;
  readonly database: Database;
};

/** Takes the data directory, opens the database and brings its schema up to date; an evaluation gets its tokens. Closed with `stack`. */
export async function openWorld(config: Config, overrides: Overrides, stack: AsyncDisposableStack): Promise<World> {
  const { clock, events, metrics } = openObservation(config, overrides);
  const random = overrides.random ?? systemRandom();
  stack.use(takeDataDirectory(config.dataDir));
  const store = await openStore(config, events, stack);
  await migrate(store);
  const database = overrides.database?.(store) ?? store;
  metrics.countFrom({ name: "chancery_database_round_trips_total", help: "Round trips to PostgreSQL", read: () => store.roundTrips() });
  if (config.env === "evaluation") await provisionEvaluation({ config, database, random }, await moduleOptions(config));
  return { config, clock, random, events, metrics, node: hostname(), database };
}

/** Brings the schema up to date and gives the names of the migrations applied. */
export async function migrateDatabase(config: Config): Promise<readonly string[]> {
  await using stack = new AsyncDisposableStack();
  const { events } = openObservation(config, {});
  stack.use(takeDataDirectory(config.dataDir));
  return await migrate(await openStore(config, events, stack));
}

/**
 * The database alone, for an act beside a running service or without one: no token is opened, nothing but the act's rows is written. Closed with `stack`.
 * An embedded server is the one that a service runs over the data directory, or started for the act.
 * @throws Fault `refusedToStart` when there is no database, or its schema is not this release's; `databaseUnavailable` while a service starts its own.
 */
export async function openWorldBeside(
  config: Config,
  overrides: Overrides,
  stack: AsyncDisposableStack,
): Promise<Pick<World, "clock" | "random" | "events" | "node" | "database">> {
  const { clock, events } = openObservation(config, overrides);
  const random = overrides.random ?? systemRandom();
  const url = config.databaseUrl ?? (await embeddedBeside(config.dataDir, stack));
  const store = stack.use(await openDatabase({ url, poolSize: 1, production: config.env === "production" }, { events }));
  const pending = await pendingMigrations(store);
  if (pending.length > 0)
    throw new Fault(
      "refusedToStart",
      `the database lacks ${pending.join(", ")}: run \`npx chancery migrate\`, or start the service, first`,
    );
  return { clock, random, events, node: hostname(), database: overrides.database?.(store) ?? store };
}

async function embeddedBeside(dataDir: string, stack: AsyncDisposableStack): Promise<string> {
  // Without this an empty cluster would be made, in a directory that was named by mistake.
  if (!(await hasEmbedded(dataDir)))
    throw new Fault(
      "refusedToStart",
      `there is no database in ${dataDir}: set DATABASE_URL, or CHANCERY_DATA_DIR to the service's directory`,
    );
  let taken: Disposable;
  try {
    taken = takeDataDirectory(dataDir);
  } catch (cause) {
    const url = await runningEmbedded(dataDir);
    if (url !== undefined) return url;
    throw new Fault("databaseUnavailable", `whoever holds ${dataDir} has no database running yet: try again in a moment`, { cause });
  }
  stack.use(taken);
  return stack.use(await startEmbedded(dataDir)).url;
}

/** A token, and what its host may do: keys are generated by an administrative host alone, and the root's token is opened by a ceremony alone. */
export type TokenUse = "issuing" | "issuing, administration" | "root, administration";

/** Opens a token in a host of its own. @throws Fault `refusedToStart` that names the option to correct. */
export async function openToken({ config, events }: Pick<World, "config" | "events">, use: TokenUse): Promise<Hsm> {
  const root = use === "root, administration";
  const optionNames = root ? rootOptionNames : issuingOptionNames;
  const pin = await readPin(root ? config.pkcs11RootPinFile : config.pkcs11PinFile, optionNames.pinFile);
  return await openHsm(
    {
      ...(await moduleOptions(config)),
      token: root ? config.pkcs11RootToken : config.pkcs11Token,
      pin,
      sessions: use === "issuing" ? config.pkcs11Sessions : 1,
      deadlineMs: 5_000,
      queueLimit: 2_048,
      production: config.env === "production",
      administration: use !== "issuing",
      optionNames,
    },
    { events },
  );
}

const issuingOptionNames: TokenOptionNames = {
  module: "CHANCERY_PKCS11_MODULE",
  token: "CHANCERY_PKCS11_TOKEN",
  pinFile: "CHANCERY_PKCS11_PIN_FILE",
};

const rootOptionNames: TokenOptionNames = {
  module: "CHANCERY_PKCS11_MODULE",
  token: "CHANCERY_PKCS11_ROOT_TOKEN",
  pinFile: "CHANCERY_PKCS11_ROOT_PIN_FILE",
};

function openObservation(config: Config, overrides: Overrides): { clock: Clock; events: Events; metrics: Metrics } {
  const clock = overrides.clock ?? systemClock;
  const metrics = openMetrics();
  const events = openEvents({ log: openLog({ level: config.logLevel, clock }), metrics });
  return { clock, metrics, events: overrides.events?.(events) ?? events };
}

async function openStore(config: Config, events: Events, stack: AsyncDisposableStack): Promise<Database> {
  if (config.databaseUrl === undefined && config.env === "production") {
    throw new Fault("refusedToStart", "DATABASE_URL must be set: the embedded database is for evaluation only");
  }
  const url = config.databaseUrl ?? stack.use(await startEmbedded(config.dataDir)).url;
  return stack.use(await openDatabase({ url, poolSize: config.databasePool, production: config.env === "production" }, { events }));
}

const systemClock: Clock = { now: () => new Date(), elapsedMs: () => performance.now() };
/** The operating system's generator, asked for a page at a time: a certificate takes five small draws. */
function systemRandom(): Random {
  const page = new Uint8Array(4096);
  let used = page.length;
  return {
    bytes(length) {
      if (length > page.length) return crypto.getRandomValues(new Uint8Array(length));
      if (used + length > page.length) {
        crypto.getRandomValues(page);
        used = 0;
      }
      const bytes = page.slice(used, used + length);
      // What was given out is not kept.
      page.fill(0, used, used + length);
      used += length;
      return bytes;
    },
  };
}
