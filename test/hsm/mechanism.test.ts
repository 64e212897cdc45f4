import { createHash } from "node:crypto";
import { expect, test } from "vitest";

import { inputOfDigest, signatureLength, signingInput, signingMechanism } from "../../src/hsm/mechanism.ts";

test.for([
  { algorithm: "ecdsa-with-SHA256", right: 32, wrong: [0, 19, 20, 21, 31, 33, 48, 64, 700] },
  { algorithm: "ecdsa-with-SHA384", right: 48, wrong: [0, 32, 47, 49, 64, 700] },
  { algorithm: "sha256WithRSAEncryption", right: 32, wrong: [0, 19, 21, 31, 33, 64, 700] },
  { algorithm: "sha512WithRSAEncryption", right: 64, wrong: [0, 32, 63, 65] },
] as const)("a digest for $algorithm has $right octets and no other length reaches the token (PK-23)", ({ algorithm, right, wrong }) => {
  expect(inputOfDigest(algorithm, Buffer.alloc(right)).length).toBeGreaterThanOrEqual(right);
  for (const octets of wrong) expect(() => inputOfDigest(algorithm, Buffer.alloc(octets)), `${octets}`).toThrow(/octets/);
});

// RFC 8017 §9.2 note 1 gives these heads.
test.for([
  { algorithm: "sha256WithRSAEncryption", hash: "sha256", head: "3031300d060960864801650304020105000420" },
  { algorithm: "sha384WithRSAEncryption", hash: "sha384", head: "3041300d060960864801650304020205000430" },
  { algorithm: "sha512WithRSAEncryption", hash: "sha512", head: "3051300d060960864801650304020305000440" },
] as const)("the DigestInfo of $algorithm is the one of RFC 8017 §9.2", ({ algorithm, hash, head }) => {
  const digest = createHash(hash).update("abc").digest();
  expect(Buffer.from(inputOfDigest(algorithm, digest)).toString("hex")).toBe(head + digest.toString("hex"));
});

test("ECDSA keys sign the digest of the whole bytes, with the hash of their curve", () => {
  const bytes = Buffer.from("the whole bytes");
  expect(Buffer.from(signingInput("P-256", bytes))).toEqual(createHash("sha256").update(bytes).digest());
  expect(Buffer.from(signingInput("P-384", bytes))).toEqual(createHash("sha384").update(bytes).digest());
  expect([signingMechanism("P-256"), signingMechanism("P-384"), signingMechanism("RSA-3072")]).toEqual([0x1041, 0x1041, 0x0001]);
  expect([signatureLength("P-256"), signatureLength("P-384"), signatureLength("RSA-2048"), signatureLength("RSA-4096")]).toEqual([
    64, 96, 256, 512,
  ]);
});
