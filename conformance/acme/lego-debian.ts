import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client, Obtained, Walk } from "./client.ts";

/** Lego 4 as Debian packs it: a command that registers as it obtains. */
export const legoDebian: Client = { name: "lego (Debian)", needs: "lego", retriesBadNonce: true, walk: walkWith };

async function walkWith(walk: Walk): Promise<void> {
  const { server, dnsHook } = walk.stage;
  const hook = join(walk.home, "hook");
  await writeFile(hook, `#!/bin/sh\n[ "$1" = present ] && action=add || action=remove\nexec "${dnsHook}" $action "\${2%.}" "$3"\n`, {
    mode: 0o755,
  });
  // Between two records it waits for a minute, unless it is told otherwise.
  const records = { EXEC_PATH: hook, EXEC_SEQUENCE_INTERVAL: "1", EXEC_POLLING_INTERVAL: "1" };
  const environment = { ...process.env, LEGO_CA_CERTIFICATES: server.transportRoots, ...records };
  const call = async (directory: string, names: readonly string[], options: string[], ...command: string[]): Promise<Obtained> => {
    const domains = names.flatMap((name) => ["--domains", name]);
    const own = ["--path", join(walk.home, directory), "--server", server.directoryUrl, "--email", "lego@acme.test", "--accept-tos"];
    await walk.run("lego", [...own, ...options, ...domains, ...command], { environment });
    const file = (names[0] ?? "").replace("*", "_");
    return { certificate: join(walk.home, directory, "certificates", `${file}.crt`), names };
  };
  const http = ["--http", "--http.port", `${walk.address}:80`];
  const dns = ["--dns", "exec", "--dns.disable-cp", "--dns.resolvers", "127.0.0.1:53"];

  await walk.can("http-01", () => call("own", [walk.name("http")], http, "run"));
  // The account is that of the order before; there is no command that registers and nothing else.
  await walk.can("register", async () => void (await call("second", [walk.name("second")], http, "run")));
  await walk.can("EAB", async () => {
    const { kid, macKey } = await server.eab();
    await call("bound", [walk.name("bound")], [...http, "--eab", "--kid", kid, "--hmac", macKey], "run");
    return undefined;
  });
  await walk.can("tls-alpn-01", () => call("own", [walk.name("alpn")], ["--tls", "--tls.port", `${walk.address}:443`], "run"));
  await walk.can("several names", () => call("own", ["a", "b", "c"].map(walk.name), http, "run"));
  await walk.can("dns-01", () => call("own", [walk.name("dns")], dns, "run"));
  await walk.can("wildcard", () => call("own", [`*.${walk.name("wild")}`, walk.name("wild")], dns, "run"));
  await walk.can("revoke", async () => void (await call("own", [walk.name("http")], http, "revoke")));
}
