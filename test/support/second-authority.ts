import { hash } from "node:crypto";
import { openCa } from "../../src/ca/ca.ts";
import { issueFrom } from "../../src/ca/issue.ts";
import { openAuthorities } from "../../src/ca/open-authorities.ts";
import { generateResponderKey } from "../../src/ca/responder-key.ts";
import { recordAuthority } from "../../src/ca/store.ts";
import { generateKeyPair } from "../../src/custody/generate.ts";
import { verificationKey } from "../../src/pki/algorithm.ts";
import { openToken, openWorld } from "../../src/world.ts";
import type { Ground } from "./service.ts";

/** A second issuing authority, issuing-2, below the root of a ground on which no service runs. */
export async function addAuthority({ config }: Ground): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const world = await openWorld(config, {}, stack);
  const hsm = stack.use(await openToken(world, "issuing, administration"));
  const rootHsm = stack.use(await openToken(world, "root, administration"));
  const [slug, namespace, principal] = ["issuing-2", "/", { id: "system", namespace: "/" }];
  const purposes = ["certificate", "crl", "binding"] as const;
  const pair = await generateKeyPair({ ...world, hsm }, { name: slug, algorithm: "P-256", purposes, namespace, principal: principal.id });
  await generateResponderKey({ ...world, hsm }, slug);

  const authorities = await openAuthorities(world.database, config.statusUrl);
  const root = authorities.get("root-1");
  if (!root) throw new Error("no root");
  const ca = await openCa({ ...world, hsm: rootHsm, authorities, ownHost: undefined, guard: (sql) => sql`true` });
  const { certificate } = await issueFrom(ca, root, {
    door: "system",
    principal,
    requestHash: hash("sha256", pair.spki, "buffer"),
    profile: "subordinate",
    subject: [
      { type: "C", value: "XX" },
      { type: "O", value: "Chancery Evaluation" },
      { type: "CN", value: "Chancery Evaluation Issuing CA 2" },
    ],
    names: [],
    publicKey: verificationKey(pair.spki),
  });
  const row = { slug, namespace, kind: "issuing", issuer: root.slug, keyPairId: pair.id, createdAt: world.clock.now() } as const;
  await world.database.transact((tx) => recordAuthority(tx, { ...row, certificate: certificate.certificate }));
}
