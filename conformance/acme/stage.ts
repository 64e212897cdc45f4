import { appendFile, copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import { startDns } from "./dns.ts";

/** The ACME server that a walk goes to. */
export type AcmeServer = {
  readonly directoryUrl: string;
  /** PEM file: whom a client trusts for the connection to the server. */
  readonly transportRoots: string;
  /** PEM file: the root of the certificates that it issues. */
  readonly issuingRoots: string;
  /** A new credential for external account binding; the MAC key in base64url. */
  eab(): Promise<{ readonly kid: string; readonly macKey: string }>;
};

/** Where clients meet a server: everything lies on the loopback of this network namespace. */
export type Stage = {
  readonly server: AcmeServer;
  /** A program that adds and removes TXT records; see `Dns`. */
  readonly dnsHook: string;
  /** A program that takes the server's token away for as many seconds as its argument says, and tells so by a line; where the pass is about that. */
  readonly awayHook?: string;
};

/** DNS on port 53 and a bundle of trusted roots, for clients that cannot be told of their own. */
export type Scenery = AsyncDisposable & {
  readonly dnsHook: string;
  /** Makes every program of this mount namespace trust the roots in the PEM file `file`. */
  trust(file: string): Promise<void>;
};

const systemRoots = "/etc/ssl/certs/ca-certificates.crt";

/** Sets DNS up, and mounts a resolver configuration and a bundle of roots over those of this mount namespace; the machine's own files stay. */
export async function setScenery(directory: string): Promise<Scenery> {
  await mkdir(directory, { recursive: true });
  const [resolver, roots] = [join(directory, "resolv.conf"), join(directory, "ca-certificates.crt")];
  await writeFile(resolver, "nameserver 127.0.0.1\n");
  await copyFile(systemRoots, roots);
  await outputOf("mount", ["--bind", resolver, "/etc/resolv.conf"]);
  await outputOf("mount", ["--bind", roots, systemRoots]);
  const dns = await startDns(directory);
  return {
    dnsHook: dns.hook,
    trust: async (file) => await appendFile(roots, `\n${await outputOf("cat", [file])}`),
    [Symbol.asyncDispose]: () => dns[Symbol.asyncDispose](),
  };
}
