import { createHash } from "node:crypto";
import { appendAudit } from "../audit/append.ts";
import { auditRow } from "../audit/entry.ts";
import { generateKeyPair } from "../custody/generate.ts";
import type { KeyPair } from "../custody/key-pair.ts";
import { Fault } from "../fault.ts";
import { type KeyAlgorithm, verificationKey } from "../pki/algorithm.ts";
import { keyIdentifier } from "../pki/certificate.ts";
import { encodeName, type Name } from "../pki/name.ts";
import { secondDecoderName } from "../pki/second-decoder.ts";
import type { Hsm, Purpose } from "../ports/hsm.ts";
import { authorityUrls, type SigningAuthority } from "./authority.ts";
import { type CaWorld, openCa } from "./ca.ts";
import type { IssuedCertificate } from "./certificates.ts";
import { issueFrom } from "./issue.ts";
import { generateResponderKey } from "./responder-key.ts";
import { openAuthorities } from "./open-authorities.ts";
import { publishFirstRootCrls } from "./root-crl.ts";
import { recordAuthority } from "./store.ts";

/** The world of the ceremony: `hsm` is the issuing token; the root's is opened for this act alone. */
export type CeremonyWorld = Omit<CaWorld, "guard" | "authorities" | "ownHost"> & { readonly rootHsm: Hsm; readonly statusUrl: string };

/** What the authorities are called and which keys they have. */
export type CeremonyPlan = {
  readonly organization: string;
  /** ISO 3166-1 alpha-2, or XX for none. */
  readonly country: string;
  readonly rootKeyAlgorithm: KeyAlgorithm;
  readonly issuingKeyAlgorithm: KeyAlgorithm;
};

/** Name of the key that readiness of a token is shown with. */
export function healthKeyName(token: string): string {
  return `health-${token}`;
}

const namespace = "/";
const principal = { id: "system", namespace };

/**
 * Makes the first hierarchy: root-1 with its first CRL in the root's token, issuing-1, the key of its OCSP responder and the health key in the issuing token.
 * Each step is durable and may be repeated: a ceremony that was interrupted goes on where it stood, and one that is complete changes nothing.
 */
export async function holdCeremony(world: CeremonyWorld, plan: CeremonyPlan): Promise<void> {
  const custody = (hsm: Hsm) => ({ ...world, hsm });
  const key = (hsm: Hsm, keyName: string, algorithm: KeyAlgorithm, purposes: readonly Purpose[]) =>
    generateKeyPair(custody(hsm), { name: keyName, algorithm, purposes, namespace, principal: principal.id });

  const rootKey = await key(world.rootHsm, "root-1", plan.rootKeyAlgorithm, ["subordinate", "crl", "binding"]);
  const issuingKey = await key(world.hsm, "issuing-1", plan.issuingKeyAlgorithm, ["certificate", "crl", "binding"]);
  await generateResponderKey(custody(world.hsm), "issuing-1");
  await key(world.hsm, healthKeyName(world.hsm.token), "P-256", ["health", "binding"]);

  const rootName = name(plan, "Root CA 1");
  const unsigned = signingAuthority("root-1", rootKey, rootName);
  const root = await createAuthority(world, { kind: "root", signer: unsigned, subject: rootName, pair: rootKey });
  const issuer = { ...unsigned.issuer, notAfter: root.notAfter, urls: authorityUrls(world.statusUrl, "root-1") };
  await createAuthority(world, {
    kind: "issuing",
    signer: { ...unsigned, issuer },
    subject: name(plan, "Issuing CA 1"),
    pair: issuingKey,
  });
  // What the issuing authorities' certificates name is there before anybody sees one (XC-16).
  await publishFirstRootCrls({ ...world, hsm: world.rootHsm, authorities: await openAuthorities(world.database, world.statusUrl) });
}

function name({ organization, country }: CeremonyPlan, commonName: string): Name {
  return [
    { type: "C", value: country },
    { type: "O", value: organization },
    { type: "CN", value: `${organization} ${commonName}` },
  ];
}

/** What a root signs its own certificate with: no issuer above it bounds its end, and its certificate names no place to ask. */
function signingAuthority(slug: string, pair: KeyPair, subject: Name): SigningAuthority {
  return {
    slug,
    key: pair.reference,
    verificationKey: verificationKey(pair.spki),
    nameText: secondDecoderName(encodeName(subject)),
    issuer: {
      subject: encodeName(subject),
      spki: pair.spki,
      subjectKeyIdentifier: keyIdentifier(pair.spki),
      notAfter: new Date("9999-12-31T23:59:59Z"),
      algorithm: pair.reference.algorithm,
      urls: {},
    },
  };
}

type Creation = { readonly kind: "root" | "issuing"; readonly signer: SigningAuthority; readonly subject: Name; readonly pair: KeyPair };

/** Signs the authority's certificate with the root's key and records the authority; does nothing when it stands. */
async function createAuthority(world: CeremonyWorld, { kind, signer, subject, pair }: Creation): Promise<IssuedCertificate> {
  const slug = pair.name;
  const ca = await openCa({ ...world, hsm: world.rootHsm, authorities: new Map(), ownHost: undefined, guard: (sql) => sql`true` });
  const { certificate } = await issueFrom(ca, signer, {
    door: "system",
    key: `authority ${slug}`,
    principal,
    requestHash: createHash("sha256").update(encodeName(subject)).update(pair.spki).digest(),
    profile: kind === "root" ? "root" : "subordinate",
    subject,
    names: [],
    publicKey: verificationKey(pair.spki),
  }).catch((cause: unknown) => {
    if (!(cause instanceof Fault) || cause.code !== "idempotencyMismatch") throw cause;
    throw new Fault("refusedToStart", `${slug} stands already under another name; it cannot be named anew`, { cause });
  });
  await world.database.transact(async (tx) => {
    const row = {
      slug,
      namespace,
      kind,
      issuer: signer.slug,
      keyPairId: pair.id,
      certificate: certificate.certificate,
      createdAt: world.clock.now(),
    };
    if (!(await recordAuthority(tx, row))) return;
    const object = { slug, kind, issuer: signer.slug, serial: certificate.serial, spkiSha256: pair.reference.spkiSha256 };
    await appendAudit(
      tx,
      auditRow({ operation: "authority.create", namespace, principal: principal.id, outcome: "success", object }, world),
    );
  });
  return certificate;
}
