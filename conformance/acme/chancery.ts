import { member } from "../certificates.ts";
import { chancery, startService, type Service } from "../service.ts";
import type { AcmeServer } from "./stage.ts";

/** What a service of the stage is told: the stage's resolver, and that the loopback is where names may lead. */
export const stageSettings: Readonly<Record<string, string>> = {
  CHANCERY_HTTP01_PORT: "80",
  CHANCERY_TLSALPN01_PORT: "443",
  CHANCERY_DNS_SERVERS: "127.0.0.1:53",
  CHANCERY_VALIDATION_ALLOW: "127.0.0.0/8,::1/128",
};

/** Starts a service on the stage. */
export async function startChancery(
  settings: Readonly<Record<string, string>> = {},
): Promise<AsyncDisposable & AcmeServer & { service: Service }> {
  const service = await startService({ ...stageSettings, ...settings });
  return { ...acmeServer(service, service.baseUrl), service, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

/** The directory `default` of `service`, reached at `baseUrl`. */
export function acmeServer(service: Service, baseUrl: string): AcmeServer {
  return {
    directoryUrl: `${baseUrl}/acme/default/directory`,
    transportRoots: service.rootFile,
    issuingRoots: service.rootFile,
    async eab() {
      const ended = await chancery(service, ["acme", "eab", "create", "--json"]);
      if (ended.status !== 0) throw new Error(`acme eab create: ${ended.stderr}${ended.stdout}`);
      const created: unknown = JSON.parse(ended.stdout);
      return { kid: member(created, "id"), macKey: member(created, "macKey") };
    },
  };
}
