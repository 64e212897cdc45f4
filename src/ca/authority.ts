import { type Certificate, type Issuer, keyIdentifier, parseCertificate } from "../pki/certificate.ts";
import { secondDecoderName } from "../pki/second-decoder.ts";
import { verificationKey, type VerificationKey } from "../pki/algorithm.ts";
import type { KeyReference } from "../ports/hsm.ts";
import { Fault } from "../fault.ts";

/** A certification authority that can sign: one key, one name, one slug. */
export type Authority = {
  /** Lower case, never reused: stands in the URLs of every certificate it issues. */
  readonly slug: string;
  readonly namespace: string;
  readonly kind: "root" | "issuing";
  /** Slug of its issuer; its own for a root. */
  readonly issuerSlug: string;
  /** DER certificate. */
  readonly certificate: Uint8Array;
  readonly parsed: Certificate;
  /** DER certificates from this authority upwards, the root left out; empty for a root. */
  readonly chain: readonly Uint8Array[];
  readonly key: KeyReference;
  readonly verificationKey: VerificationKey;
  /** What its certificates take from it. */
  readonly issuer: Issuer;
  /** Its name as the second decoder shows it. */
  readonly nameText: string;
};

/** The part of an authority that signing needs: a root has it before it has a certificate. */
export type SigningAuthority = Pick<Authority, "slug" | "issuer" | "nameText" | "key" | "verificationKey">;

/** The URLs that an authority's certificates carry, below the status listener's public URL. */
export function authorityUrls(statusUrl: string, slug: string): { caIssuers: string; ocsp: string; crl: string } {
  return { caIssuers: `${statusUrl}/ca/${slug}.cer`, ocsp: `${statusUrl}/ocsp/${slug}`, crl: `${statusUrl}/crl/${slug}.crl` };
}

/** The path of a CRL below `/crl/` of the status URL, without its suffix: of a shard, or of the full CRL. */
export function crlPath(slug: string, shard: number | undefined): string {
  return shard === undefined ? slug : `${slug}/${shard}`;
}

/** The URL of a CRL as certificates have it, made from that of its authority's full CRL. */
export function crlUrl(fullUrl: string, shard: number | undefined): string {
  return shard === undefined ? fullUrl : `${fullUrl.slice(0, -".crl".length)}/${shard}.crl`;
}

/** The issuer of certificates that fall into a shard of its CRL: they name that shard's URL. */
export function issuerOfShard(issuer: Issuer, shard: number | undefined): Issuer {
  const { crl } = issuer.urls;
  return shard === undefined || crl === undefined ? issuer : { ...issuer, urls: { ...issuer.urls, crl: crlUrl(crl, shard) } };
}

/** What an authority is made from: its record and the key pair that the record names. */
export type AuthorityParts = {
  readonly slug: string;
  readonly namespace: string;
  readonly kind: "root" | "issuing";
  readonly issuer: string;
  readonly certificate: Uint8Array;
  readonly key: KeyReference;
  /** SPKI as recorded at generation: the certificate must carry the same. */
  readonly spki: Uint8Array;
};

/**
 * The authorities by slug, with their chains.
 * @throws Fault `refusedToStart` when a certificate is not for the recorded key, an issuer is missing, or a chain is longer than clients take.
 */
export function authorities(parts: readonly AuthorityParts[], statusUrl: string): ReadonlyMap<string, Authority> {
  const bySlug = new Map(parts.map((part) => [part.slug, part]));
  return new Map(parts.map((part) => [part.slug, authority(part, bySlug, statusUrl)]));
}

function authority(part: AuthorityParts, bySlug: ReadonlyMap<string, AuthorityParts>, statusUrl: string): Authority {
  const parsed = parseCertificate(part.certificate);
  const verifies = verificationKey(part.spki);
  if (parsed.spkiSha256 !== part.key.spkiSha256) {
    throw new Fault("refusedToStart", `the certificate of ${part.slug} is not for the key that is recorded for it`);
  }
  return {
    slug: part.slug,
    namespace: part.namespace,
    kind: part.kind,
    issuerSlug: part.issuer,
    certificate: part.certificate,
    parsed,
    chain: chain(part, bySlug),
    key: part.key,
    verificationKey: verifies,
    nameText: secondDecoderName(parsed.subject),
    issuer: {
      subject: parsed.subject,
      spki: part.spki,
      subjectKeyIdentifier: parsed.subjectKeyIdentifier ?? keyIdentifier(part.spki),
      notAfter: parsed.notAfter,
      algorithm: part.key.algorithm,
      urls: authorityUrls(statusUrl, part.slug),
    },
  };
}

/** With the certificate that they issue, five: longer chains are refused by clients, cert-manager among them. */
const mostAboveLeaf = 4;

function chain(part: AuthorityParts, bySlug: ReadonlyMap<string, AuthorityParts>): Uint8Array[] {
  const upwards: Uint8Array[] = [];
  for (let current = part; current.kind !== "root";) {
    upwards.push(current.certificate);
    const issuer = bySlug.get(current.issuer);
    if (!issuer || upwards.length > bySlug.size) throw new Fault("refusedToStart", `the issuer of ${current.slug} is not recorded`);
    current = issuer;
  }
  if (upwards.length > mostAboveLeaf) {
    throw new Fault(
      "refusedToStart",
      `${part.slug} stands ${upwards.length} certificates below its root: with those that it issues a chain has ${mostAboveLeaf + 1} at most`,
    );
  }
  return upwards;
}
