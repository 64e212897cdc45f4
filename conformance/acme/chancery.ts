import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { member } from "../certificates.ts";
import { holdStatus } from "../held-status.ts";
import { chancery, startService, type Service } from "../service.ts";
import type { AcmeServer } from "./stage.ts";

/** What a service of the stage is told: the stage's resolver, and that the loopback is where names may lead. */
export const stageSettings: Readonly<Record<string, string>> = {
  CHANCERY_HTTP01_PORT: "80",
  CHANCERY_TLSALPN01_PORT: "443",
  CHANCERY_DNS_SERVERS: "127.0.0.1:53",
  CHANCERY_VALIDATION_ALLOW: "127.0.0.0/8,::1/128",
};

/** Starts a service on the stage; a copy of its root lies in `directory`. What it said of certificates' status is judged when it ends. */
export async function startChancery(
  directory: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<AsyncDisposable & { readonly server: AcmeServer; readonly service: Service }> {
  const service = await startService({ ...stageSettings, ...settings });
  return {
    server: await acmeServer(service, directory),
    service,
    async [Symbol.asyncDispose]() {
      try {
        await holdStatus(service);
      } finally {
        await service[Symbol.asyncDispose]();
      }
    },
  };
}

/** The ACME directory `default` of `service`. Its root is copied into `directory`: not every client may read a data directory. */
export async function acmeServer(service: Service, directory: string): Promise<AcmeServer> {
  const roots = join(directory, "root.pem");
  await copyFile(service.rootFile, roots);
  return {
    directoryUrl: `${service.baseUrl}/acme/default/directory`,
    transportRoots: roots,
    issuingRoots: roots,
    async eab() {
      const ended = await chancery(service, ["acme", "eab", "create", "--json"]);
      if (ended.status !== 0) throw new Error(`acme eab create: ${ended.stderr}${ended.stdout}`);
      const created: unknown = JSON.parse(ended.stdout);
      return { kid: member(created, "id"), macKey: member(created, "macKey") };
    },
  };
}
