import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client, Obtained, Walk } from "./client.ts";

/** lacme: Perl, in four processes of which none has both network and keys. It trusts the bundle of the system and gives up on the first badNonce. */
export const lacme: Client = { name: "lacme", needs: "lacme", retriesBadNonce: false, walk: walkWith };

async function walkWith(walk: Walk): Promise<void> {
  const { server } = walk.stage;
  await walk.run("openssl", ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "account.key"]);
  await writeFile(join(walk.home, "accountd.conf"), `privkey = file:${join(walk.home, "account.key")}\n`, { mode: 0o600 });
  const configuration = join(walk.home, "lacme.conf");
  const client = ["[client]", `server = ${server.directoryUrl}`, "user =", "group ="];
  const webServer = ["[webserver]", `listen = ${walk.address}:80`, "user =", "group ="];
  const accountDaemon = ["[accountd]", `config = ${join(walk.home, "accountd.conf")}`];
  await writeFile(configuration, `${[...client, ...webServer, ...accountDaemon].join("\n")}\n`);
  const call = (...parameters: string[]): Promise<string> => walk.run("lacme", [`--config=${configuration}`, ...parameters]);
  const issue = async (label: string, names: readonly string[]): Promise<Obtained> => {
    const rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    await walk.run("openssl", ["genpkey", ...rsa, "-out", `${label}.key`]);
    const section = [
      `[${label}]`,
      `certificate-key = ${join(walk.home, label)}.key`,
      `certificate = ${join(walk.home, label)}.pem`,
      `certificate-chain = ${join(walk.home, label)}-chain.pem`,
      `subject = /CN=${names[0]}`,
      `subjectAltName = ${names.map((name) => `DNS:${name}`).join(", ")}`,
      `CAfile = ${server.issuingRoots}`,
    ];
    await writeFile(join(walk.home, `${label}.conf`), `${section.join("\n")}\n`);
    await call(`--config-certs=${join(walk.home, `${label}.conf`)}`, "newOrder", label);
    return { certificate: `${label}-chain.pem`, names };
  };

  await walk.can("register", async () => void (await call("--register", "--tos-agreed", "account", "mailto:lacme@acme.test")));
  await walk.can("http-01", () => issue("http", [walk.name("http")]));
  await walk.can("several names", () => issue("several", ["a", "b", "c"].map(walk.name)));
  await walk.can("revoke", async () => void (await call("revokeCert", join(walk.home, "http.pem"))));
  await walk.can("deactivate", async () => void (await call("--deactivate", "account")));
}
