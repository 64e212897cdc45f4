import { expect, test } from "vitest";
import { authorities, type AuthorityParts } from "../../src/ca/authority.ts";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { sealedPlan, softwareKey } from "../pki/authorities.ts";

/** A root and `depth` authorities, each below the one before. That all have one key and certificate says nothing about their chains. */
async function below(depth: number): Promise<readonly AuthorityParts[]> {
  const { spki } = softwareKey("P-256");
  const { der: certificate } = await sealedPlan("root", softwareKey("P-256"), softwareKey("P-256"));
  const { spkiSha256 } = parseCertificate(certificate);
  const key = { token: "test", ckaId: "00".repeat(16), algorithm: "P-256", spkiSha256 } as const;
  const shared = { namespace: "/", certificate, spki, key };
  const issuing = Array.from({ length: depth }, (_, index) => ({
    ...shared,
    slug: `issuing-${index + 1}`,
    kind: "issuing" as const,
    issuer: index === 0 ? "root" : `issuing-${index}`,
  }));
  return [{ ...shared, slug: "root", kind: "root", issuer: "root" }, ...issuing];
}

test("a chain of five with the leaf is taken: four authorities below the root, without it (AC-1)", async () => {
  const standing = authorities(await below(4), "http://ca.example.org");
  expect([...standing.values()].map(({ chain }) => chain.length)).toEqual([0, 1, 2, 3, 4]);
});

test("a longer one, which clients refuse, is refused at the start by the authority's name (AC-1)", async () => {
  const parts = await below(5);
  expect(() => authorities(parts, "http://ca.example.org")).toThrow(
    "issuing-5 stands 5 certificates below its root: with those that it issues a chain has 5 at most",
  );
});
