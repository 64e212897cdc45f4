import { X509Certificate } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { execute, outputOf } from "../execute.ts";
import type { Ability, passes } from "./ability.ts";
import type { Client, Obtained, Walk } from "./client.ts";
import { zone } from "./dns.ts";
import type { Stage } from "./stage.ts";

/** One thing tried by one client: `pass` names the walk. */
export type Tried = {
  readonly client: Client["name"] | "chancery";
  readonly pass: Pass["name"];
  readonly ability: Ability;
  readonly check: string;
  readonly complaint: string | undefined;
};

/** What a pass is: its name, and the abilities that it tries (all where absent). */
export type Pass = { readonly name: "" | (typeof passes)[number]; readonly abilities?: readonly Ability[] };

let walks = 0;

/** Takes `client` over `stage`; `record` hears of everything it tried, as it happens. What the walk itself throws is recorded as a complaint. */
export async function takeWalk(
  client: Client,
  { stage, pass, directory, record }: { stage: Stage; pass: Pass; directory: string; record: (tried: Tried) => Promise<void> },
): Promise<void> {
  const label = `${client.name} ${pass.name}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
  const home = join(directory, label);
  await mkdir(home, { recursive: true });
  const address = `127.0.1.${++walks}`;
  await outputOf(stage.dnsHook, ["address", `*.${label}.${zone}`, address]);
  const tried: Walk["tried"] = async ({ ability, check, complaint, obtained }) => {
    const wrong = complaint ?? (obtained === undefined ? undefined : await verify(stage, home, obtained).catch(String));
    await record({ client: client.name, pass: pass.name, ability, check, complaint: wrong });
  };
  const walk: Walk = {
    stage,
    home,
    address,
    name: (host) => `${host}.${label}.${zone}`,
    run: (program, parameters, options) => outputOf(program, parameters, { directory: home, limitSeconds: 90, ...options }),
    tries: (ability) => pass.abilities?.includes(ability) ?? true,
    tried,
    async can(ability, act) {
      if (!walk.tries(ability)) return;
      try {
        await tried({ ability, check: ability, obtained: await act() });
      } catch (error) {
        await tried({ ability, check: ability, complaint: error instanceof Error ? error.message : String(error) });
      }
    },
  };
  try {
    await client.walk(walk);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    await tried({ ability: "register", check: "the walk comes to its end", complaint: words });
  }
}

/** What OpenSSL and a look at its names find wrong with what a client obtained. */
async function verify({ server }: Stage, home: string, { certificate, chain, names }: Obtained): Promise<string | undefined> {
  const file = resolve(home, certificate);
  const issuers = chain === undefined ? file : resolve(home, chain);
  const held = (new X509Certificate(await readFile(file)).subjectAltName ?? "").split(", ").map((name) => name.replace(/^[^:]*:/, ""));
  const [expected, found] = [names.toSorted().join(" "), held.toSorted().join(" ")];
  if (expected !== found) return `it is for ${found}, and ${expected} was asked for`;
  const trust = [
    "-x509_strict",
    "-purpose",
    "sslserver",
    "-no-CApath",
    "-no-CAstore",
    "-CAfile",
    server.issuingRoots,
    "-untrusted",
    issuers,
  ];
  for (const name of names) {
    const identity = /^[\d.]+$|:/.test(name) ? ["-verify_ip", name] : ["-verify_hostname", name.replace("*", "any")];
    const ended = await execute("openssl", ["verify", ...trust, ...identity, file]);
    if (ended.status !== 0) return `openssl refuses it: ${ended.stderr.trim()}`;
  }
  return undefined;
}
