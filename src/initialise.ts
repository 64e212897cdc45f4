import { stat } from "node:fs/promises";
import { join } from "node:path";
import { adminTokenFile, writeAdminToken } from "./admin-token.ts";
import type { Authority } from "./ca/authority.ts";
import { type CeremonyPlan, holdCeremony } from "./ca/ceremony.ts";
import { generateResponderKey, listMissingResponderKeys } from "./ca/responder-key.ts";
import { openAuthorities } from "./ca/open-authorities.ts";
import type { Config } from "./config.ts";
import { replaceFile } from "./durable-file.ts";
import { Fault } from "./fault.ts";
import { encodePem } from "./pki/pem.ts";
import { openToken, openWorld, type Overrides, type World } from "./world.ts";

/** An evaluation's hierarchy, where nobody was asked. */
export const evaluationPlan: CeremonyPlan = {
  organization: "Chancery Evaluation",
  country: "XX",
  rootKeyAlgorithm: "P-384",
  issuingKeyAlgorithm: "P-256",
};

/**
 * Holds the ceremony: the first hierarchy, and a first administrator's token where the data directory has none.
 * @throws Fault `refusedToStart` with what is missing.
 */
export async function initialise(
  config: Config,
  plan: CeremonyPlan,
  overrides: Overrides = {},
): Promise<{ root: Uint8Array; adminToken: string }> {
  await using stack = new AsyncDisposableStack();
  const world = await openWorld(config, overrides, stack);
  await holdFirstCeremony(world, plan);
  const authorities = await openAuthorities(world.database, config.statusUrl);
  await writeTrust(config, { authorities });
  const root = authorities.get("root-1");
  if (!root) throw new Fault("internal", "the ceremony left no root");
  return { root: root.certificate, adminToken: adminTokenFile(config) };
}

/** Whether an authority stands that can issue. */
export async function isInitialised({ database, config }: World): Promise<boolean> {
  const authorities = await openAuthorities(database, config.statusUrl);
  return [...authorities.values()].some((authority) => authority.kind === "issuing");
}

/** The ceremony with both tokens, and a first administrator's token. */
export async function holdFirstCeremony(world: World, plan: CeremonyPlan): Promise<void> {
  await using hsm = await openToken(world, "issuing, administration");
  await using rootHsm = await openToken(world, "root, administration");
  await holdCeremony({ ...world, hsm, rootHsm, statusUrl: world.config.statusUrl }, plan);
  await writeFirstAdminToken(world);
}

/**
 * Sees to it that every issuing authority's responder has a key, which the ceremony of a release without OCSP did not make: an evaluation
 * makes it now.
 * @throws Fault `refusedToStart` in production, where keys are made by `init` alone.
 */
export async function requireResponderKeys(world: World, authorities: ReadonlyMap<string, Authority>): Promise<void> {
  const missing = await listMissingResponderKeys({ database: world.database, authorities });
  if (missing.length === 0) return;
  if (world.config.env === "production") {
    const detail = `the OCSP responder of ${missing.join(" and ")} has no key`;
    throw new Fault(
      "refusedToStart",
      `${detail}: run \`chancery init\` once more, with the options of the first time and the root's token at hand`,
    );
  }
  await using hsm = await openToken(world, "issuing, administration");
  for (const slug of missing) await generateResponderKey({ ...world, hsm }, slug);
}

/** A first administrator's token, unless the data directory has one. An empty file is none. */
async function writeFirstAdminToken(world: World): Promise<void> {
  const kept = await stat(adminTokenFile(world.config)).catch(() => undefined);
  if (kept && kept.size > 0) return;
  await writeAdminToken(world, "system");
}

/** `root.pem` for those who trust us, `chain.pem` for servers that must send the issuers. */
export async function writeTrust(config: Config, { authorities }: { authorities: ReadonlyMap<string, Authority> }): Promise<void> {
  const all = [...authorities.values()];
  const roots = all.filter(({ kind }) => kind === "root").map(({ certificate }) => certificate);
  const issuers = all.filter(({ kind }) => kind === "issuing").map(({ certificate }) => certificate);
  await replaceFile(join(config.dataDir, "root.pem"), { content: pem(roots), mode: 0o644 });
  await replaceFile(join(config.dataDir, "chain.pem"), { content: pem(issuers), mode: 0o644 });
}

function pem(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => encodePem("CERTIFICATE", der)).join("");
}
