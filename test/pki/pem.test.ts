import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { decodeBase64, decodePem, encodePem, maximumPemLength } from "../../src/pki/pem.ts";

const block = "-----BEGIN X-----\nAQID\n-----END X-----\n";

test("a block has 64 characters a line and ends with a line break (RFC 7468 §3)", () => {
  expect(encodePem("X", Uint8Array.of(1, 2, 3))).toBe(block);
  expect(encodePem("X", new Uint8Array(48))).toBe(`-----BEGIN X-----\n${"A".repeat(64)}\n-----END X-----\n`);
  expect(encodePem("X", new Uint8Array(49))).toBe(`-----BEGIN X-----\n${"A".repeat(64)}\nAA==\n-----END X-----\n`);
});

test.for([
  { name: "one block", text: block, count: 1 },
  { name: "two blocks", text: block + block, count: 2 },
  { name: "text around it", text: `Subject: a\n${block}and more\n`, count: 1 },
  { name: "CR LF", text: block.replaceAll("\n", "\r\n"), count: 1 },
  { name: "no line break at the end", text: block.trimEnd(), count: 1 },
  { name: "an empty line inside", text: block.replace("AQID", "AQID\n"), count: 1 },
  { name: "another line length", text: block.replace("AQID", "AQ\nID"), count: 1 },
])("takes $name (RFC 7468 §2)", ({ text, count }) => {
  expect(decodePem(text, "X").map((der) => [...der])).toEqual(Array.from({ length: count }, () => [1, 2, 3]));
});

test.for([
  { name: "no block", text: "AQID" },
  { name: "an empty block", text: block.replace("AQID\n", "") },
  { name: "another label", text: block.replaceAll("X", "Y") },
  { name: "labels that differ", text: block.replace("END X", "END Y") },
  { name: "no end", text: block.slice(0, -16) },
  { name: "an end alone", text: "-----END X-----\n" },
  { name: "a beginning inside", text: `-----BEGIN X-----\n${block}` },
  { name: "a broken boundary", text: block.replace("BEGIN X-----", "BEGIN X----") },
  { name: "headers of RFC 1421", text: block.replace("AQID", "Proc-Type: 4,ENCRYPTED\n\nAQID") },
  { name: "a foreign character", text: block.replace("AQID", "AQ-D") },
  { name: "spare bits", text: block.replace("AQID", "AR==") },
  { name: "no padding", text: block.replace("AQID", "AQ") },
  { name: "padding in the middle", text: block.replace("AQID", "AQ==AQ==") },
  { name: "a good block before a bad one", text: block + block.replace("END X", "END Y") },
])("refuses $name", ({ text }) => {
  expect(() => decodePem(text, "X")).toThrow(expect.objectContaining({ code: "malformed" }));
});

test("the cap of 64 KiB stands at 65,536 characters (CVE-2024-12401)", () => {
  const padded = block + "\n".repeat(maximumPemLength - block.length);
  expect(decodePem(padded, "X")).toHaveLength(1);
  expect(() => decodePem(`${padded}\n`, "X")).toThrow(expect.objectContaining({ code: "tooLarge" }));
});

test("bytes are read back as they were written, whatever stands between the blocks (F-1)", () => {
  const between = fc.string({ maxLength: 20 }).filter((text) => !text.includes("-----"));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 200 }), between), { minLength: 1, maxLength: 4 }), (blocks) => {
      const text = blocks.map(([der, words]) => `${words}\n${encodePem("A B", der)}`).join("");
      expect(decodePem(text, "A B").map((der) => [...der])).toEqual(blocks.map(([der]) => [...der]));
    }),
    { numRuns: 1500 },
  );
});

test("any text is blocks or a Fault (F-1)", () => {
  const piece = fc.constantFrom("-----BEGIN X-----", "-----END X-----", "-----", "AQID", "AQ==", "=", "\n", "\n", "\r", " ", "x");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      try {
        decodePem(pieces.join(""), "X");
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        expect(error.code).toBe("malformed");
      }
    }),
    { numRuns: 2000 },
  );
});

test("Buffer alone would take base64 that we refuse (TR-7)", () => {
  const lax = ["AQ", "AR==", "A Q==", "AQ-_", "AQID!"];
  expect(lax.filter((text) => Buffer.from(text, "base64").length > 0)).toEqual(lax);
  for (const text of lax) expect(() => decodeBase64(text), text).toThrow(Fault);
});
