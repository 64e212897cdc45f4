import { copyFile, mkdtemp, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { startEmbedded } from "../../src/database/embedded.ts";
import { holdStatus } from "../held-status.ts";
import { chancery, freePort, startService, type Service } from "../service.ts";
import { startBalancer, type Balancer } from "./balancer.ts";
import { acmeServer, stageSettings } from "./chancery.ts";
import type { AcmeServer } from "./stage.ts";

/** Two instances on one database and one token behind a balancer. */
export type Instances = AsyncDisposable & {
  readonly server: AcmeServer;
  readonly balancer: Balancer;
  /** Puts another instance beside the second and ends that by SIGTERM. */
  restart(): Promise<void>;
};

/** Starts PostgreSQL, two instances and the balancer; what they write lies below `directory`. */
export async function startInstances(directory: string): Promise<Instances> {
  await using started = new AsyncDisposableStack();
  const database = started.use(await startEmbedded(await mkdtemp(join(directory, "database-"))));
  const port = await freePort();
  const settings = { ...stageSettings, CHANCERY_BASE_URL: `https://localhost:${port}`, DATABASE_URL: database.url };
  const first = started.use(await startService(settings));
  const beside = (): Promise<Service> => startService(settings, (dataDirectory) => share(first.dataDirectory, dataDirectory));
  let second = await beside();
  started.defer(() => second[Symbol.asyncDispose]());
  // The balancer is not there yet: whoever asks for its certificate asks the instance itself.
  const direct = { ...first, environment: { ...first.environment, CHANCERY_BASE_URL: `https://localhost:${first.port}` } };
  const ended = await chancery(direct, ["cert", "issue", "--name", "localhost", "--out", join(directory, "balancer")]);
  if (ended.status !== 0) throw new Error(`no certificate for the balancer: ${ended.stderr}`);
  const [certificate, key, ca] = await Promise.all(
    [join(directory, "balancer/localhost.pem"), join(directory, "balancer/localhost.key"), first.rootFile].map((file) =>
      readFile(file, "utf8"),
    ),
  );
  const balancer = started.use(await startBalancer(port, { certificate: certificate ?? "", key: key ?? "", ca: ca ?? "" }));
  balancer.use([first, second]);
  started.defer(() => holdStatus(first));
  const rest = started.move();
  return {
    server: await acmeServer({ ...direct, baseUrl: `https://localhost:${port}` }, directory),
    balancer,
    async restart() {
      const [ending, next] = [second, await beside()];
      second = next;
      // Requests still reach the one that drains: nothing but its closed listener sends them to the others.
      balancer.use([first, ending, next]);
      await ending[Symbol.asyncDispose]();
      balancer.use([first, next]);
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

/** Lets an instance with the data directory `to` use the token of the one with `from`, and be asked with the same credential. */
async function share(from: string, to: string): Promise<void> {
  await symlink(join(from, "tokens"), join(to, "tokens"));
  for (const file of ["issuing.pin", "root.pin", "admin.token", "root.pem"]) await copyFile(join(from, file), join(to, file));
}
