import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client, Obtained, Walk } from "./client.ts";
import { serveWebroot } from "./webroot.ts";

/** Dehydrated: a shell script around curl and openssl. It gives up on the first badNonce. */
export const dehydrated: Client = { name: "dehydrated", needs: "dehydrated", retriesBadNonce: false, walk: walkWith };

async function walkWith(walk: Walk): Promise<void> {
  const webroot = join(walk.home, "webroot");
  await mkdir(webroot);
  const own = await configure(walk, "own", webroot);
  const call = (configuration: string, ...parameters: string[]): Promise<string> =>
    walk.run("dehydrated", ["--config", configuration, ...parameters]);
  const issue = async (challenge: string, label: string, names: readonly string[]): Promise<Obtained> => {
    await call(own, "--cron", "--challenge", challenge, "--alias", label, ...names.flatMap((name) => ["--domain", name]));
    return { certificate: join(walk.home, "own", "certs", label, "fullchain.pem"), names };
  };
  await using _ = await serveWebroot(webroot, walk.address);

  await walk.can("register", async () => void (await call(own, "--register", "--accept-terms")));
  await walk.can("EAB", async () => {
    const { kid, macKey } = await walk.stage.server.eab();
    const bound = await configure(walk, "bound", webroot, [`EAB_KID="${kid}"`, `EAB_HMAC_KEY="${macKey}"`]);
    await call(bound, "--register", "--accept-terms");
    return undefined;
  });
  await walk.can("http-01", () => issue("http-01", "http", [walk.name("http")]));
  await walk.can("several names", () => issue("http-01", "several", ["a", "b", "c"].map(walk.name)));
  await walk.can("dns-01", () => issue("dns-01", "dns", [walk.name("dns")]));
  await walk.can("wildcard", () => issue("dns-01", "wildcard", [`*.${walk.name("wild")}`, walk.name("wild")]));
  await walk.can("revoke", async () => void (await call(own, "--revoke", join(walk.home, "own", "certs", "http", "cert.pem"))));
  await walk.can("deactivate", async () => void (await call(own, "--deactivate")));
}

/** A configuration of its own in the directory `name`, and the hook that dns-01 needs. */
async function configure({ stage, home }: Walk, name: string, webroot: string, more: readonly string[] = []): Promise<string> {
  const directory = join(home, name);
  await mkdir(directory);
  const [configuration, hook] = [join(directory, "config"), join(directory, "hook")];
  const lines = [
    `CA="${stage.server.directoryUrl}"`,
    `CURL_OPTS="--cacert ${stage.server.transportRoots}"`,
    `BASEDIR="${directory}"`,
    `WELLKNOWN="${webroot}"`,
    `HOOK="${hook}"`,
    'CONTACT_EMAIL="dehydrated@acme.test"',
    // Of 4096 bits otherwise, which takes seconds to make.
    'ACCOUNT_KEYSIZE="2048"',
    ...more,
  ];
  await writeFile(configuration, `${lines.join("\n")}\n`);
  // For http-01 the script has written the file itself; its value then is no TXT record.
  const cases = ["deploy_challenge) action=add ;;", "clean_challenge) action=remove ;;", "*) exit 0 ;;"];
  const script = ["#!/bin/sh", 'case "$1" in', ...cases, "esac", 'case "$4" in *.*) exit 0 ;; esac'];
  await writeFile(hook, `${script.join("\n")}\nexec "${stage.dnsHook}" $action "_acme-challenge.$2" "$4"\n`, { mode: 0o755 });
  return configuration;
}
