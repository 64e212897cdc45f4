import { existsSync } from "node:fs";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import type { Client, Obtained, Walk } from "./client.ts";

/** Certbot, program in the file `program`; a `current` one knows IP identifiers and renewal information (RFC 8738, RFC 9773). */
export function certbot(name: "certbot" | "certbot (Debian)", program: string, { current }: { current: boolean }): Client {
  return { name, needs: program, retriesBadNonce: true, walk: (walk) => walkWith(walk, program, current) };
}

async function walkWith(walk: Walk, program: string, current: boolean): Promise<void> {
  const { server, dnsHook } = walk.stage;
  const environment = { ...process.env, REQUESTS_CA_BUNDLE: server.transportRoots };
  const call = (directory: string, ...parameters: string[]): Promise<string> => {
    const own = ["config", "work", "logs"].flatMap((part) => [`--${part}-dir`, join(walk.home, directory, part)]);
    return walk.run(program, [...parameters, "--non-interactive", ...own, "--server", server.directoryUrl], { environment });
  };
  const account = ["--agree-tos", "--email", `${walk.name("x").split(".")[1]}@acme.test`];
  const issued = (label: string, names: readonly string[]): Obtained => ({
    certificate: join(walk.home, "own", "config", "live", label, "fullchain.pem"),
    names,
  });
  const issue = async (label: string, names: readonly string[], ...how: string[]): Promise<Obtained> => {
    await call("own", "certonly", "--cert-name", label, ...how, ...names.flatMap((name) => ["--domain", name]));
    return issued(label, names);
  };
  const standalone = ["--standalone", "--preferred-challenges", "http", "--http-01-address", walk.address];
  const [auth, cleanup] = await hooks(walk, dnsHook);
  const byHook = ["--manual", "--preferred-challenges", "dns", "--manual-auth-hook", auth, "--manual-cleanup-hook", cleanup];

  await walk.can("register", async () => void (await call("own", "register", ...account)));
  await walk.can("EAB", async () => {
    const { kid, macKey } = await server.eab();
    await call("bound", "register", ...account, "--eab-kid", kid, "--eab-hmac-key", macKey);
    return undefined;
  });
  await walk.can("http-01", () => issue("http", [walk.name("http")], ...standalone));
  await walk.can("several names", () => issue("several", ["a", "b", "c"].map(walk.name), ...standalone));
  await walk.can("dns-01", () => issue("dns", [walk.name("dns")], ...byHook));
  await walk.can("wildcard", () => issue("wildcard", [`*.${walk.name("wild")}`, walk.name("wild")], ...byHook));
  if (current) {
    await walk.can("IP", async () => {
      await call("own", "certonly", "--cert-name", "address", ...standalone, "--ip-address", walk.address);
      return issued("address", [walk.address]);
    });
  }
  const live = join(walk.home, "own", "config", "live", "http", "cert.pem");
  await walk.can("revoke", async () => {
    await call("own", "revoke", "--cert-name", "http", "--reason", "keycompromise", "--no-delete-after-revoke");
    return undefined;
  });
  // A revoked certificate's window lies in the past, so a plain `renew` replaces it and leaves the others.
  if (current) {
    await walk.can("ARI", async () => {
      const before = await serial(live);
      const told = await call("own", "renew", "--no-random-sleep-on-renew", "--cert-name", "http");
      if ((await serial(live)) === before) throw new Error(`renew left a revoked certificate in place: ${told.slice(-500)}`);
      return issued("http", [walk.name("http")]);
    });
  }
  await walk.can("deactivate", async () => void (await call("own", "unregister")));
}

async function serial(file: string): Promise<string> {
  return existsSync(file) ? new X509Certificate(await readFile(file)).serialNumber : "";
}

/** Two hooks for `--manual`: both find name and value in their environment. */
async function hooks(walk: Walk, dnsHook: string): Promise<[string, string]> {
  const files: [string, string] = [join(walk.home, "auth-hook"), join(walk.home, "cleanup-hook")];
  for (const [index, action] of ["add", "remove"].entries()) {
    const script = `#!/bin/sh\nexec "${dnsHook}" ${action} "_acme-challenge.$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION"\n`;
    await writeFile(files[index] ?? "", script, { mode: 0o755 });
  }
  return files;
}
