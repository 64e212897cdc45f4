import { generateKeyPairSync, sign, verify } from "node:crypto";
import { expect, test } from "vitest";

import { ecdsaDer } from "../../src/pki/algorithm.ts";

const length = (octets: number): string => octets.toString(16).padStart(2, "0");

/** One coordinate as the token gives it, and the INTEGER it becomes: written by hand from X.690 §8.3. */
const coordinates = (octets: number): readonly { name: string; value: string; integer: string }[] => {
  const filled = (head: string, rest: string): string => head + rest.repeat(octets - head.length / 2);
  return [
    { name: "first bit clear", value: filled("7f", "11"), integer: `02${length(octets)}${filled("7f", "11")}` },
    { name: "first bit set", value: filled("80", "22"), integer: `02${length(octets + 1)}00${filled("80", "22")}` },
    {
      name: "a leading zero, then a clear bit",
      value: filled("0001", "33"),
      integer: `02${length(octets - 1)}01${"33".repeat(octets - 2)}`,
    },
    { name: "a leading zero, then a set bit", value: filled("00ff", "44"), integer: `02${length(octets)}00ff${"44".repeat(octets - 2)}` },
    {
      name: "two leading zeros, then a set bit",
      value: filled("000080", "55"),
      integer: `02${length(octets - 1)}0080${"55".repeat(octets - 3)}`,
    },
    { name: "one", value: `${"00".repeat(octets - 1)}01`, integer: "020101" },
  ];
};

test.for([
  { curve: "P-256", octets: 32 },
  { curve: "P-384", octets: 48 },
])("r‖s of $curve becomes two minimal INTEGERs, for every leading zero and high bit (PK-26)", ({ octets }) => {
  for (const r of coordinates(octets)) {
    for (const s of coordinates(octets)) {
      const content = r.integer + s.integer;
      const expected = `30${(content.length / 2).toString(16).padStart(2, "0")}${content}`;
      expect(Buffer.from(ecdsaDer(Buffer.from(r.value + s.value, "hex"))).toString("hex"), `${r.name}; ${s.name}`).toBe(expected);
    }
  }
});

test.for([
  { curve: "P-256", hash: "sha256" },
  { curve: "P-384", hash: "sha384" },
])("signatures of $curve that OpenSSL made as r‖s verify as DER (PK-26)", ({ curve, hash }) => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: curve });
  for (let index = 0; index < 300; index += 1) {
    const text = Buffer.from(`text ${index}`);
    const rs = sign(hash, text, { key: privateKey, dsaEncoding: "ieee-p1363" });
    expect(verify(hash, text, publicKey, ecdsaDer(rs))).toBe(true);
  }
});
