import * as fc from "fast-check";
import { expect, test } from "vitest";

import { allPurposes, keyLabel, purposesOfLabel } from "../../src/hsm/key-label.ts";

test("a label names the key and its purposes, and reads back as them (PK-62)", () => {
  expect(keyLabel("issuing-1", ["crl", "certificate", "binding"])).toBe("issuing-1 [certificate,crl,binding]");
  fc.assert(
    fc.property(fc.subarray([...allPurposes], { minLength: 1 }), (purposes) => {
      expect([...purposesOfLabel(keyLabel("key.of-test-1", purposes))].toSorted()).toEqual(purposes.toSorted());
    }),
  );
});

test.for(["", " ", " a", "a ", "a]", "a[", "ä", "a\nb", "a\u0000", "a".repeat(65)])("%j is no name of a key", (name) => {
  expect(() => keyLabel(name, ["crl"])).toThrow(/a key's name/);
});

test.for([
  "issuing-1",
  "issuing-1 [all]",
  "issuing-1 [crl,all]",
  "issuing-1 [crl] [ocsp]",
  "issuing-1 []",
  "issuing-1 [crl",
  "[crl]",
  " [crl]",
  "a [crl]\n",
  "a [crl,crl]",
])("a key with the label %j serves no purpose", (label) => {
  expect(purposesOfLabel(label).size).toBe(0);
});

test("a label of any text gives known purposes or none", () => {
  fc.assert(fc.property(fc.string(), (label) => [...purposesOfLabel(label)].every((purpose) => allPurposes.includes(purpose))));
});
