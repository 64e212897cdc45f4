import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client, Obtained, Walk } from "./client.ts";
import { startDaemon } from "./daemon.ts";
import { serveWebroot } from "./webroot.ts";

/** uacme: C on libcurl and GnuTLS, with a responder for tls-alpn-01 beside it. It trusts the bundle of the system. */
export const uacme: Client = { name: "uacme", needs: "uacme", retriesBadNonce: true, walk: walkWith };

async function walkWith(walk: Walk): Promise<void> {
  const { server, dnsHook } = walk.stage;
  const webroot = join(walk.home, "webroot");
  await mkdir(webroot);
  const [hook, socket] = [join(walk.home, "hook"), join(walk.home, "ualpn.sock")];
  await writeFile(hook, hookScript(dnsHook, webroot, socket), { mode: 0o755 });
  const call = (directory: string, challenge: string, ...parameters: string[]): Promise<string> => {
    const environment = { ...process.env, CHALLENGE: challenge };
    const own = ["--confdir", join(walk.home, directory), "--acme-url", server.directoryUrl, "--yes", "--no-ocsp"];
    return walk.run("uacme", [...own, "--hook", hook, ...parameters], { environment });
  };
  const issue = async (challenge: string, names: readonly string[]): Promise<Obtained> => {
    await call("own", challenge, "--type", "EC", "issue", ...names);
    return { certificate: join(walk.home, "own", (names[0] ?? "").replace("*.", ""), "cert.pem"), names };
  };
  await using _ = await serveWebroot(webroot, walk.address);

  await walk.can("register", async () => void (await call("own", "", "--type", "EC", "new", "uacme@acme.test")));
  await walk.can("EAB", async () => {
    const { kid, macKey } = await server.eab();
    await call("bound", "", "--eab", `${kid}:${macKey}`, "new", "uacme@acme.test");
    return undefined;
  });
  await walk.can("http-01", () => issue("http-01", [walk.name("http")]));
  await walk.can("several names", () => issue("http-01", ["a", "b", "c"].map(walk.name)));
  await walk.can("IP", () => issue("http-01", [walk.address]));
  await walk.can("dns-01", () => issue("dns-01", [walk.name("dns")]));
  await walk.can("wildcard", () => issue("dns-01", [`*.${walk.name("wild")}`, walk.name("wild")]));
  await walk.can("tls-alpn-01", async () => {
    await using responder = startDaemon("ualpn", [
      "-v",
      "-b",
      `${walk.address}@443`,
      "-c",
      `${walk.address}@4443`,
      "-s",
      socket,
      "-u",
      "root",
    ]);
    return await issue("tls-alpn-01", [walk.name("alpn")]).catch((error: unknown) => {
      throw new Error(`${String(error)} ${responder.log()}`);
    });
  });
  await walk.can("key roll-over", async () => {
    await call("own", "", "newkey");
    await issue("http-01", [walk.name("rolled")]);
    return undefined;
  });
  await walk.can("revoke", async () => void (await call("own", "", "revoke", join(walk.home, "own", walk.name("http"), "cert.pem"))));
  await walk.can("deactivate", async () => void (await call("own", "", "deactivate")));
}

/** Takes the challenge that the environment names, and refuses the others. */
const hookScript = (dnsHook: string, webroot: string, socket: string): string => `#!/bin/sh
set -eu
[ "$2" = "$CHALLENGE" ] || exit 1
case "$1 $2" in
  "begin http-01") printf %s "$5" > "${webroot}/$4" ;;
  *" http-01") rm -f "${webroot}/$4" ;;
  "begin dns-01") exec "${dnsHook}" add "_acme-challenge.$3" "$5" ;;
  *" dns-01") exec "${dnsHook}" remove "_acme-challenge.$3" "$5" ;;
  "begin tls-alpn-01") [ "$(echo "auth $3 $5" | ualpn -s "${socket}")" = OK ] ;;
  *" tls-alpn-01") [ "$(echo "unauth $3" | ualpn -s "${socket}")" = OK ] ;;
esac
`;
