import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Ability } from "./ability.ts";
import type { Client, Obtained, Walk } from "./client.ts";
import { listening, startDaemon, until } from "./daemon.ts";

const modules = ["mpm_event", "authz_core", "authz_host", "unixd", "ssl", "md", "socache_shmcb", "alias", "dir"];
const moduleDirectory = "/usr/lib/apache2/modules";

/** Apache's mod_md: the web server gets its own certificate while it runs, and serves it after a graceful restart. */
export const modMd: Client = { name: "mod_md", needs: `${moduleDirectory}/mod_md.so`, retriesBadNonce: true, walk: walkWith };

async function walkWith(walk: Walk): Promise<void> {
  // Each host lies in a server of its own, so that one which fails leaves the others alone.
  const attempt = (ability: Ability, names: readonly string[], settings: readonly string[]): Promise<void> =>
    walk.can(ability, () => obtain(walk, ability.replaceAll(" ", "-"), names, settings));
  await attempt("http-01", [walk.name("http")], ["MDCAChallenges http-01"]);
  await walk.can("register", async () => undefined);
  await attempt("tls-alpn-01", [walk.name("alpn")], ["MDCAChallenges tls-alpn-01"]);
  await attempt("several names", ["a", "b", "c"].map(walk.name), ["MDCAChallenges http-01"]);
  const hook = join(walk.home, "dns-hook");
  const action = '[ "$1" = setup ] && action=add || action=remove';
  const record = `exec "${walk.stage.dnsHook}" $action "_acme-challenge.\${2#\\*.}" "$3"`;
  // At "teardown" the value is absent.
  await writeFile(hook, `#!/bin/sh\n${action}\n[ -n "$3" ] || exit 0\n${record}\n`, { mode: 0o755 });
  const dns = ["MDCAChallenges dns-01", `MDChallengeDns01 ${hook}`];
  await attempt("dns-01", [walk.name("dns")], dns);
  await attempt("wildcard", [`*.${walk.name("wild")}`, walk.name("wild")], dns);
  const bound = walk.tries("EAB") ? await walk.stage.server.eab() : { kid: "", macKey: "" };
  await attempt("EAB", [walk.name("bound")], ["MDCAChallenges http-01", `MDExternalAccountBinding ${bound.kid} ${bound.macKey}`]);
}

async function obtain(walk: Walk, label: string, names: readonly string[], settings: readonly string[]): Promise<Obtained> {
  const directory = join(walk.home, label);
  await mkdir(join(directory, "md"), { recursive: true });
  const file = join(directory, "httpd.conf");
  await writeFile(file, configuration(walk, directory, names, settings));
  await using server = startDaemon("apache2", ["-d", directory, "-f", file, "-DFOREGROUND"]);
  await listening(80, walk.address, server);
  const staged = join(directory, "md", "staging", names[0] ?? "", "pubcert.secp256r1.pem");
  const certificate = join(directory, "md", "domains", names[0] ?? "", "pubcert.secp256r1.pem");
  try {
    await until("mod_md obtains a certificate", async () => (existsSync(staged) || existsSync(certificate) ? "there" : ""), 60);
  } catch (error) {
    const log = await readFile(join(directory, "error.log"), "utf8");
    throw new Error(`${String(error)} ${log.slice(-1500)}`, { cause: error });
  }
  // The new certificate is taken up by a graceful restart alone.
  await until("mod_md serves it", async () => {
    process.kill(server.processId, "SIGUSR1");
    await new Promise((resolve) => setTimeout(resolve, 2000));
    return existsSync(certificate) ? "there" : "";
  });
  return { certificate, names };
}

function configuration({ stage, address }: Walk, directory: string, names: readonly string[], settings: readonly string[]): string {
  const load = modules
    .filter((name) => existsSync(join(moduleDirectory, `mod_${name}.so`)))
    .map((name) => `LoadModule ${name}_module ${moduleDirectory}/mod_${name}.so`);
  return `ServerRoot ${directory}
ServerName ${names[0]?.replace("*", "any")}
${load.join("\n")}
User www-data
Group www-data
PidFile ${directory}/httpd.pid
DefaultRuntimeDir ${directory}
Mutex file:${directory} default
ErrorLog ${directory}/error.log
LogLevel warn md:info
Listen ${address}:80
Listen ${address}:443
MDStoreDir ${directory}/md
MDCertificateAuthority ${stage.server.directoryUrl}
MDCACertificateFile ${stage.server.transportRoots}
MDCertificateAgreement accepted
MDContactEmail mod-md@acme.test
MDPrivateKeys secp256r1
Protocols http/1.1 acme-tls/1
MDRetryDelay 5s
${settings.join("\n")}
MDomain ${names.join(" ")} manual
<VirtualHost ${address}:80>
  ServerName ${names[0]?.replace("*", "any")}
</VirtualHost>
<VirtualHost ${address}:443>
  ServerName ${names[0]?.replace("*", "any")}
  ServerAlias ${names.slice(1).join(" ") || names[0]}
  SSLEngine on
</VirtualHost>
`;
}
