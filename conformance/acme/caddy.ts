import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Ability } from "./ability.ts";
import type { Client, Obtained, Walk } from "./client.ts";
import { startDaemon, until } from "./daemon.ts";

/** Caddy, program in the file `program`: obtains what its configuration names as it starts. */
export function caddy(name: "Caddy" | "Caddy (Debian)", program: string): Client {
  return { name, retriesBadNonce: true, walk: (walk) => walkWith(walk, program) };
}

async function walkWith(walk: Walk, program: string): Promise<void> {
  const attempt = (ability: Ability, names: readonly string[], issuer: readonly string[]): Promise<void> =>
    walk.can(ability, () => obtain(walk, program, { label: ability.replaceAll(" ", "-"), names, issuer }));
  const [http, alpn] = ["disable_tlsalpn_challenge", "disable_http_challenge"];
  await attempt("http-01", [walk.name("http")], [http]);
  // Who obtained has registered.
  await walk.can("register", async () => undefined);
  await attempt("tls-alpn-01", [walk.name("alpn")], [alpn]);
  await attempt("several names", ["a", "b", "c"].map(walk.name), [http]);
  const bound = walk.tries("EAB") ? await walk.stage.server.eab() : { kid: "", macKey: "" };
  await attempt("EAB", [walk.name("bound")], [http, `eab ${bound.kid} ${bound.macKey}`]);
}

async function obtain(
  walk: Walk,
  program: string,
  { label, names, issuer }: { label: string; names: readonly string[]; issuer: readonly string[] },
): Promise<Obtained> {
  const directory = join(walk.home, label);
  await mkdir(directory);
  const file = join(directory, "Caddyfile");
  await writeFile(file, configuration(walk, directory, names, issuer));
  const environment = { ...process.env, HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory };
  await using server = startDaemon(program, ["run", "--config", file, "--adapter", "caddyfile"], environment);
  // Caddy gets one certificate a name.
  const certificates = join(directory, "certificates");
  const found = await until(
    "Caddy obtains its certificates",
    async () => {
      const [authority = ""] = await readdir(certificates);
      const files = names.map((name) => join(certificates, authority, name, `${name}.crt`));
      return files.every((one) => existsSync(one)) ? (files[0] ?? "") : "";
    },
    60,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)} ${server.log().slice(-1000)}`);
  });
  return { certificate: found, names: names.slice(0, 1) };
}

function configuration({ stage, address }: Walk, directory: string, names: readonly string[], issuer: readonly string[]): string {
  return `{
  admin off
  storage file_system ${directory}
  default_bind ${address}
}
${names.join(", ")} {
  tls {
    issuer acme {
      dir ${stage.server.directoryUrl}
      trusted_roots ${stage.server.transportRoots}
      ${issuer.join("\n      ")}
    }
  }
  respond ok
}
`;
}
