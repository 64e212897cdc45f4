import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Ability } from "./ability.ts";
import type { Client, Obtained, Walk } from "./client.ts";
import { startDaemon, until } from "./daemon.ts";

/** Caddy, program in the file `program`: obtains what its configuration names as it starts. */
export function caddy(name: "Caddy" | "Caddy (Debian)", program: string): Client {
  return { name, needs: program, retriesBadNonce: true, walk: (walk) => walkWith(walk, program) };
}

async function walkWith(walk: Walk, program: string): Promise<void> {
  const attempt = (ability: Ability, host: string, issuer: readonly string[]): Promise<void> =>
    walk.can(ability, () => obtain(walk, program, { label: ability, name: walk.name(host), issuer }));
  const [http, alpn] = ["disable_tlsalpn_challenge", "disable_http_challenge"];
  await attempt("http-01", "http", [http]);
  // Who obtained has registered.
  await walk.can("register", async () => undefined);
  await attempt("tls-alpn-01", "alpn", [alpn]);
  const bound = walk.tries("EAB") ? await walk.stage.server.eab() : { kid: "", macKey: "" };
  await attempt("EAB", "bound", [http, `eab ${bound.kid} ${bound.macKey}`]);
}

async function obtain(
  walk: Walk,
  program: string,
  { label, name, issuer }: { label: string; name: string; issuer: readonly string[] },
): Promise<Obtained> {
  const directory = join(walk.home, label);
  await mkdir(directory);
  const file = join(directory, "Caddyfile");
  await writeFile(file, configuration(walk, directory, name, issuer));
  const environment = { ...process.env, HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory };
  await using server = startDaemon(program, ["run", "--config", file, "--adapter", "caddyfile"], environment);
  const certificates = join(directory, "certificates");
  const obtained = async (): Promise<string> => {
    const [authority = ""] = await readdir(certificates);
    const found = join(certificates, authority, name, `${name}.crt`);
    return existsSync(found) ? found : "";
  };
  const certificate = await until("Caddy obtains a certificate", obtained, 60).catch((error: unknown) => {
    throw new Error(`${String(error)} ${server.log().slice(-1000)}`, { cause: error });
  });
  return { certificate, names: [name] };
}

function configuration({ stage, address }: Walk, directory: string, name: string, issuer: readonly string[]): string {
  return `{
  admin off
  storage file_system ${directory}
  default_bind ${address}
}
${name} {
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
