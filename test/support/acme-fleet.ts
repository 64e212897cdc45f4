import { readFile, writeFile } from "node:fs/promises";
import { Agent } from "node:https";
import { join } from "node:path";
import { build, type Service } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import type { Overrides } from "../../src/world.ts";
import { type ChallengeHost, startChallengeHost } from "./challenge-host.ts";
import type { Door } from "./polite-client.ts";
import { notingOverrides, standingGround, type Ground, startService, type TestService } from "./service.ts";

/** Where instances that are one service to their clients are started: one database, one token, one base URL, one web server of the applicants. */
export type FleetGround = AsyncDisposable & {
  readonly ground: Ground;
  readonly host: ChallengeHost;
  /** What the doors of the instances have in common for clients. */
  readonly place: Omit<Door, "port">;
  /** The environment of a further instance, with a directory of its own; the first has made the token. */
  readonly another: (name: string, settings?: Readonly<Record<string, string>>) => Readonly<Record<string, string>>;
};

/** What every client's URLs begin with, whichever instance answers. */
const baseUrl = "https://localhost:9443";

const directories = `
default: { names: ["*"], singleLabels: true, newAccountsPerAddress: null, newOrdersPerAccount: null, failedValidations: null }
bound: { names: ["*"], singleLabels: true, externalAccountRequired: true }
`;

/** Makes the ground. `settings` gives further variables of every instance, as a module's path; `databaseUrl` stays that of the server itself. */
export async function fleetGround(
  settings: (ground: Ground) => Promise<Readonly<Record<string, string>>> = async () => ({}),
): Promise<FleetGround> {
  await using stack = new AsyncDisposableStack();
  const host = stack.use(await startChallengeHost());
  const bare = stack.use(await standingGround());
  const file = join(bare.directory, "directories.yaml");
  await writeFile(file, directories);
  const env = {
    ...bare.env,
    CHANCERY_BASE_URL: baseUrl,
    CHANCERY_STATUS_URL: "http://localhost:9080",
    CHANCERY_ACME_DIRECTORIES: file,
    CHANCERY_HTTP01_PORT: String(host.port),
    CHANCERY_VALIDATION_ALLOW: "127.0.0.0/8",
    ...(await settings(bare)),
  };
  const ground = { ...bare, env, config: loadConfig({ env, directory: bare.directory }) };
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  stack.defer(() => agent.destroy());
  let ca: Promise<string> | undefined;
  const held = stack.move();
  return {
    ground,
    host,
    place: { baseUrl, agent, ca: () => (ca ??= readFile(join(ground.directory, "root.pem"), "utf8")) },
    another: (name, more = {}) => ({
      ...env,
      CHANCERY_ENV: "production",
      CHANCERY_DATA_DIR: join(ground.directory, name),
      CHANCERY_PKCS11_TOKEN: ground.config.pkcs11Token,
      CHANCERY_PKCS11_PIN_FILE: ground.config.pkcs11PinFile,
      SOFTHSM2_CONF: join(ground.directory, "softhsm2.conf"),
      ...more,
    }),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** Two instances in this process. */
export type Fleet = AsyncDisposable & {
  readonly grounds: FleetGround;
  readonly first: TestService;
  readonly second: Service;
  readonly doors: readonly [Door, Door];
};

/** Starts two instances on a ground, or on one of their own. */
export async function startFleet({
  grounds,
  overrides = {},
}: { readonly grounds?: FleetGround; readonly overrides?: Overrides } = {}): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const own = grounds ?? stack.use(await fleetGround());
  const first = stack.use(await startService(overrides, own.ground));
  const config = loadConfig({ env: own.another("second"), directory: own.ground.directory });
  const second = stack.use(await build(config, notingOverrides(overrides, own.ground)));
  const door = ({ listeners }: Service): Door => ({ ...own.place, port: listeners.tls.port });
  const held = stack.move();
  return { grounds: own, first, second, doors: [door(first.service), door(second)], [Symbol.asyncDispose]: () => held.disposeAsync() };
}
