import { readFileSync } from "node:fs";
import { domainToASCII, domainToUnicode } from "node:url";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isAlabel } from "../../src/pki/punycode.ts";
import { isUlabel } from "../../src/pki/u-label.ts";

// Encoded with Python's codec punycode, apart from ours.
test.for([
  { name: "zero width space", label: "xn--ab-g1t" },
  { name: "soft hyphen", label: "xn--ab-5da" },
  { name: "right-to-left override", label: "xn--ab-g4t" },
  { name: "zero width joiner", label: "xn--ab-m1t" },
  { name: "zero width joiner after a virama, which RFC 5892 Appendix A.2 would allow", label: "xn--11b6iy14e" },
  { name: "zero width non-joiner between letters that join, which Appendix A.1 would allow", label: "xn--mgba3gch31f060k" },
  { name: "byte order mark", label: "xn--ab-ot3n" },
  { name: "fullwidth a", label: "xn--mi7c" },
  { name: "one dot leader", label: "xn--paypalcom-qe0e" },
  { name: "ideographic full stop in a name that looks like another", label: "xn--paypalcom-bk3h" },
  { name: "ideographic full stop", label: "xn--ab-r13a" },
  { name: "fraction slash", label: "xn--ab-c6t" },
  { name: "Hangul filler", label: "xn--vhk" },
  { name: "Hangul Jamo", label: "xn--ypd8q" },
  { name: "combining mark in front", label: "xn--a-wbb" },
  { name: "combining mark for symbols", label: "xn--a-qsn" },
  { name: "letters of both directions", label: "xn--ab-vld" },
  { name: "right-to-left label that begins with a digit", label: "xn--1-0hc" },
  { name: "right-to-left label that ends with a hyphen", label: "xn----zhc" },
  { name: "right-to-left label with European and Arabic digits", label: "xn--1-zhc05b" },
  { name: "Arabic digits of both rows", label: "xn--mgb0j6q" },
  { name: "middle dot not between two l", label: "xn--ab-0ea" },
  { name: "middle dot of Katakana without Japanese", label: "xn--a-iju" },
  { name: "keraia without Greek after it", label: "xn--a-jib3p" },
  { name: "geresh without Hebrew before it", label: "xn--5db1e" },
  { name: "tatweel", label: "xn--mgbc5e" },
  { name: "upper case", label: "xn--wca" },
  { name: "Roman numeral", label: "xn--64g" },
  { name: "emoji", label: "xn--e28h" },
  { name: "capital sharp s", label: "xn--a-vum" },
  { name: "u and combining diaeresis, not composed", label: "xn--u-ccb" },
  { name: "hyphens in the third and fourth place", label: "xn--ab---3ra" },
  { name: "hyphen in front", label: "xn----eha" },
  { name: "ligature fi", label: "xn--jm6c" },
  { name: "mathematical a", label: "xn--gz1h" },
  { name: "unassigned", label: "xn--zva" },
  { name: "private use", label: "xn--0y0c" },
  { name: "delimiter after nothing", label: "xn---tda" },
  { name: "ASCII alone", label: "xn--abc-" },
  { name: "nothing", label: "xn--" },
])("$label is no A-label (RFC 5891 §4.2, RFC 5892, RFC 5893; XP-5): $name", ({ label }) => {
  expect(isAlabel(label)).toBe(false);
});

test.for([
  { name: "bücher", label: "xn--bcher-kva" },
  { name: "straße", label: "xn--strae-oqa" },
  { name: "Greek with a final sigma", label: "xn--kxawhkp" },
  { name: "Greek with a keraia", label: "xn--wva3je" },
  { name: "Cyrillic", label: "xn--e1afmkfd" },
  { name: "Japanese", label: "xn--wgv71a119e" },
  { name: "Katakana with its middle dot", label: "xn--tcki0b6c1a8g7fgb" },
  { name: "Hangul", label: "xn--3e0b707e" },
  { name: "Arabic", label: "xn--mgbh0fb" },
  { name: "Arabic with its digits", label: "xn--mgbh0fb7lg" },
  { name: "Arabic with European digits", label: "xn--12-btdp0kd" },
  { name: "Persian with its digits", label: "xn--hhbbbed03hha" },
  { name: "Hebrew with a point", label: "xn--pdb4buf0d" },
  { name: "Hebrew with a geresh", label: "xn--rebc9a" },
  { name: "Devanagari", label: "xn--p1b6ci4b4b3a" },
  { name: "Devanagari with a virama", label: "xn--i1b2b4b6db1e6c" },
  { name: "Catalan", label: "xn--parallel-koa" },
  { name: "Turkish", label: "xn--lk-gpab" },
  { name: "Thai", label: "xn--72c1a1bt4awk9o" },
  { name: "Cherokee", label: "xn--f9dt7l" },
  { name: "Chinese beyond the basic plane", label: "xn--7l3i" },
  { name: "hyphens between digits", label: "xn--a-1--3ra" },
])("$label is an A-label (RFC 5890 §2.3.2.1): $name", ({ label }) => {
  expect(isAlabel(label)).toBe(true);
});

test("the characters taken everywhere in a label are those of the derived property PVALID (RFC 5892 §3)", () => {
  const expected = new Set<number>();
  for (const line of readFileSync(new URL("../vectors/idna/pvalid.txt", import.meta.url), "utf8")
    .trim()
    .split("\n")) {
    const [first = "", last = first] = line.split("-");
    for (let point = parseInt(first, 16); point <= parseInt(last, 16); point++) expected.add(point);
  }
  // Taken where their neighbours allow it: CONTEXTO.
  for (const point of [0x5f3, 0x5f4, ...range(0x660, 0x669), ...range(0x6f0, 0x6f9)]) expected.add(point);
  const points = range(0x80, 0x10ffff).filter((point) => point < 0xd800 || point > 0xdfff);
  expect(points.filter((point) => isTaken(point) !== expected.has(point)).map((point) => point.toString(16))).toEqual([]);
});

test("a text has one A-label: every one that is taken is the one that another encoder writes (RFC 3492 §6.2; F-1)", () => {
  const letters = fc.array(fc.constantFrom(..."abz019-"), { minLength: 1, maxLength: 12 }).map((each) => each.join(""));
  let taken = 0;
  fc.assert(
    fc.property(letters, (text) => {
      const label = `xn--${text}`;
      if (!isAlabel(label)) return;
      taken += 1;
      expect(domainToASCII(domainToUnicode(label))).toBe(label);
    }),
    { numRuns: 20_000 },
  );
  expect(taken).toBeGreaterThan(100);
});

// After a letter of each direction; neither is part of a composed character.
function isTaken(point: number): boolean {
  return ["\u01be", "\u05d0"].some((letter) => isUlabel(letter + String.fromCodePoint(point)));
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
