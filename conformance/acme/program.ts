import { execute } from "../execute.ts";
import { abilities, type Ability, type ClientName } from "./ability.ts";
import type { Client, Walk } from "./client.ts";

/** How a program is started; `environment` adds to what every program of this kind is told. */
export type Command = {
  readonly program: string;
  /** The file without which it does not run; the program itself where absent. */
  readonly needs?: string;
  readonly parameters: readonly string[];
  environment?(walk: Walk): Record<string, string>;
};

/**
 * A client that is a library: a program of ours around it walks through its abilities by itself. It is told where by the variables ACME_…, as
 * conformance/go/acme/main.go describes them, and writes one line of JSON an outcome.
 */
export function libraryClient(name: ClientName, command: Command): Client {
  return { name, needs: command.needs ?? command.program, retriesBadNonce: true, walk: (walk) => walkWith(walk, command) };
}

async function walkWith(walk: Walk, { program, parameters, environment }: Command): Promise<void> {
  const { server, dnsHook, awayHook } = walk.stage;
  const { kid, macKey } = await server.eab();
  const told = {
    ACME_DIRECTORY: server.directoryUrl,
    ACME_TRANSPORT_ROOTS: server.transportRoots,
    ACME_ADDRESS: walk.address,
    ACME_SUFFIX: walk.name("").slice(1),
    ACME_DNS_HOOK: dnsHook,
    ACME_EAB_KID: kid,
    ACME_EAB_KEY: macKey,
    ACME_ABILITIES: abilities.filter(walk.tries).join(","),
    ...(awayHook !== undefined && { ACME_AWAY_HOOK: awayHook }),
  };
  const all = { ...process.env, ...told, ...environment?.(walk) };
  const ended = await execute(program, parameters, { directory: walk.home, environment: all, limitSeconds: 240 });
  for (const line of ended.stdout.split("\n")) if (line.startsWith("{")) await walk.tried(outcome(line));
  if (ended.status !== 0) throw new Error(`exit status ${ended.status}: ${`${ended.stderr}${ended.stdout}`.trim().slice(-1000)}`);
}

/** @throws Error when a program tells something else than an outcome. */
function outcome(line: string): Parameters<Walk["tried"]>[0] {
  const told = JSON.parse(line) as { ability?: Ability; check?: string; complaint?: string; certificate?: string; names?: string[] };
  const { ability, check, complaint, certificate, names } = told;
  if (ability === undefined || !abilities.includes(ability)) throw new Error(`no outcome: ${line}`);
  const obtained = certificate === undefined || names === undefined ? undefined : { certificate, names };
  return { ability, check: check ?? ability, complaint, obtained };
}
