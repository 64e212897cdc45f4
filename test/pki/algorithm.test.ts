import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  algorithmIdentifier,
  digest,
  ecdsaDer,
  fits,
  keyAlgorithm,
  parseAlgorithmIdentifier,
  signatureAlgorithm,
  spkiFromEcPoint,
  spkiFromRsa,
  spkiSha256,
  verificationKey,
  verifySignature,
  type SignatureAlgorithm,
} from "../../src/pki/algorithm.ts";
import { Fault } from "../../src/fault.ts";

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(text, "hex"));
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

// RFC 5758 §3.2, RFC 4055 §5
const identifiers = [
  { algorithm: "ecdsa-with-SHA256", der: "300a06082a8648ce3d040302" },
  { algorithm: "ecdsa-with-SHA384", der: "300a06082a8648ce3d040303" },
  { algorithm: "ecdsa-with-SHA512", der: "300a06082a8648ce3d040304" },
  { algorithm: "sha256WithRSAEncryption", der: "300d06092a864886f70d01010b0500" },
  { algorithm: "sha384WithRSAEncryption", der: "300d06092a864886f70d01010c0500" },
  { algorithm: "sha512WithRSAEncryption", der: "300d06092a864886f70d01010d0500" },
] as const;

test.for(identifiers)("$algorithm has one encoding, and no other is taken (RFC 5758 §3.2, RFC 4055 §5)", ({ algorithm, der }) => {
  expect(toHex(algorithmIdentifier(algorithm))).toBe(der);
  expect(parseAlgorithmIdentifier(hex(der))).toBe(algorithm);
  expect(parseAlgorithmIdentifier(hex(`${der}00`))).toBeUndefined();
});

test.for([
  { key: "P-256", algorithm: "ecdsa-with-SHA256" },
  { key: "P-384", algorithm: "ecdsa-with-SHA384" },
  { key: "RSA-2048", algorithm: "sha256WithRSAEncryption" },
  { key: "RSA-4096", algorithm: "sha256WithRSAEncryption" },
] as const)("our $key keys sign with $algorithm", ({ key, algorithm }) => {
  expect(signatureAlgorithm(key)).toBe(algorithm);
  expect(fits(algorithm, key)).toBe(true);
  expect(fits(key.startsWith("RSA") ? "ecdsa-with-SHA256" : "sha256WithRSAEncryption", key)).toBe(false);
});

type Published = {
  readonly source: string;
  readonly algorithm: SignatureAlgorithm;
  readonly spki: string;
  readonly message: string;
  readonly signature: string;
  readonly rs?: string;
};
const published = JSON.parse(readFileSync(new URL("../vectors/signature/published.json", import.meta.url), "utf8")) as Published[]; // our own committed file

test.for(published)(
  "the signature printed in $source verifies, and with one bit changed anywhere it does not",
  async ({ algorithm, spki, message, signature }) => {
    const key = verificationKey(hex(spki));
    expect(await verifySignature(key, algorithm, hex(message), hex(signature))).toBe(true);
    expect(await verifySignature(key, algorithm, hex(`${message}00`), hex(signature))).toBe(false);
    const verdicts = Array.from({ length: signature.length / 2 }, (_, index) => {
      const changed = hex(signature);
      changed[index] = (changed[index] ?? 0) ^ (1 << (index % 8));
      return verifySignature(key, algorithm, hex(message), changed);
    });
    expect(new Set(await Promise.all(verdicts))).toEqual(new Set([false]));
  },
);

test.for(published.filter(({ rs }) => rs !== undefined))(
  "r ‖ s of $source becomes the DER printed beside it (PK-26)",
  ({ rs, signature }) => {
    expect(toHex(ecdsaDer(hex(rs ?? "")))).toBe(signature);
  },
);

test.for([
  { name: "small", rs: `${"00".repeat(31)}01${"00".repeat(31)}7f`, der: "300602010102017f" },
  { name: "high bit", rs: `80${"00".repeat(31)}${"00".repeat(31)}80`, der: `302702210080${"00".repeat(31)}02020080` },
  {
    name: "leading zeros, then a high bit",
    rs: `0000ff${"11".repeat(29)}00${"7f".repeat(31)}`,
    der: `3042021f00ff${"11".repeat(29)}021f${"7f".repeat(31)}`,
  },
  { name: "zero", rs: "00".repeat(64), der: "3006020100020100" },
])("r ‖ s becomes minimal INTEGERs: $name (PK-26)", ({ rs, der }) => {
  expect(toHex(ecdsaDer(hex(rs)))).toBe(der);
});

test("r ‖ s of no or an odd number of octets is refused (XT-14)", () => {
  expect(() => ecdsaDer(new Uint8Array())).toThrow(Fault);
  expect(() => ecdsaDer(new Uint8Array(63))).toThrow(Fault);
});

test("a signature in any form but the strict one is false, never an error (XG-3 r)", async () => {
  const [vector] = published;
  const key = verificationKey(hex(vector?.spki ?? ""));
  const order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
  const forms = [
    "",
    "30",
    "3000",
    "3006020100020101",
    "3006020101020100",
    `3026022100${order}020101`,
    `3026020101022100${order}`,
    "3006020101020181",
    "300702020001020101",
    `${vector?.signature ?? ""}00`,
    `308146${(vector?.signature ?? "").slice(4)}`,
    vector?.rs ?? "",
  ];
  for (const form of forms)
    expect(await verifySignature(key, "ecdsa-with-SHA256", hex(vector?.message ?? ""), hex(form)), form).toBe(false);
  expect(await verifySignature(key, "sha256WithRSAEncryption", hex(vector?.message ?? ""), hex(vector?.signature ?? ""))).toBe(false);
});

test("an SPKI made from numbers is the one that others write", () => {
  const [ec, , , rsa] = published;
  const point = hex((ec?.spki ?? "").slice(-130));
  expect(toHex(spkiFromEcPoint("P-256", point))).toBe(ec?.spki);
  const modulus = hex((rsa?.spki ?? "").slice(-10 - 512, -10));
  expect(toHex(spkiFromRsa(modulus, hex("010001")))).toBe(rsa?.spki);
  expect(toHex(spkiFromRsa(Buffer.concat([Uint8Array.of(0, 0), modulus]), hex("00010001")))).toBe(rsa?.spki);
  expect(keyAlgorithm(hex(rsa?.spki ?? ""))).toBe("RSA-2048");
  expect(spkiSha256(hex(ec?.spki ?? ""))).toBe("5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4");
  expect(() => spkiFromEcPoint("P-384", point)).toThrow(Fault);
  expect(() => spkiFromEcPoint("P-256", point.subarray(0, 64))).toThrow(Fault);
});

test("digests are those of FIPS 180-4", () => {
  expect(toHex(digest("ecdsa-with-SHA256", Buffer.from("abc")))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(digest("sha384WithRSAEncryption", Buffer.from("abc"))).toHaveLength(48);
});

test("node:crypto verifies with a bare KeyObject: no options object reaches it (HP-6)", () => {
  const source = readFileSync(new URL("../../src/pki/algorithm.ts", import.meta.url), "utf8");
  const calls = [...source.matchAll(/(?<![\w.])verify\(([^;]*?)\(error/g)].map((call) => call[1]);
  expect(calls).toEqual(["signatures[algorithm].hash, data, key.keyObject, signature, "]);
  expect([...source.matchAll(/createPublicKey\((.)/g)].map((call) => call[1])).toEqual(["`"]);
});

type WycheproofGroup = {
  readonly publicKeyDer: string;
  readonly tests: readonly {
    readonly tcId: number;
    readonly msg: string;
    readonly sig: string;
    readonly result: "valid" | "invalid" | "acceptable";
  }[];
};
const wycheproof = process.env["WYCHEPROOF_DIR"];
const files: readonly { readonly file: string; readonly algorithm: SignatureAlgorithm }[] = [
  { file: "ecdsa_secp256r1_sha256_test.json", algorithm: "ecdsa-with-SHA256" },
  { file: "ecdsa_secp384r1_sha384_test.json", algorithm: "ecdsa-with-SHA384" },
  { file: "rsa_signature_2048_sha256_test.json", algorithm: "sha256WithRSAEncryption" },
  { file: "rsa_signature_3072_sha256_test.json", algorithm: "sha256WithRSAEncryption" },
  { file: "rsa_signature_3072_sha384_test.json", algorithm: "sha384WithRSAEncryption" },
  { file: "rsa_signature_4096_sha256_test.json", algorithm: "sha256WithRSAEncryption" },
  { file: "rsa_signature_4096_sha512_test.json", algorithm: "sha512WithRSAEncryption" },
];

test("Wycheproof's signatures are judged as they say (XK-5, F-5)", async ({ annotate }) => {
  if (wycheproof === undefined) {
    await annotate("WYCHEPROOF_DIR is not set: only the published vectors of test/vectors/signature ran");
    return;
  }
  const counts = { judged: 0, acceptable: 0, invalid: 0 };
  const mismatches: string[] = [];
  for (const { file, algorithm } of files) {
    const { testGroups } = JSON.parse(readFileSync(join(wycheproof, file), "utf8")) as { testGroups: WycheproofGroup[] }; // the format of Wycheproof's schemas
    for (const group of testGroups) {
      const key = verificationKey(hex(group.publicKeyDer));
      const verdicts = await Promise.all(group.tests.map(({ msg, sig }) => verifySignature(key, algorithm, hex(msg), hex(sig))));
      for (const [index, { tcId, result }] of group.tests.entries()) {
        if (result === "acceptable") counts.acceptable += 1;
        else if (verdicts[index] !== (result === "valid")) mismatches.push(`${file} ${tcId}`);
        else counts.judged += 1;
        if (result === "invalid") counts.invalid += 1;
      }
    }
  }
  await annotate(JSON.stringify(counts));
  expect(mismatches).toEqual([]);
  expect(counts.judged).toBeGreaterThan(2000);
  expect(counts.invalid).toBeGreaterThan(1000);
});
