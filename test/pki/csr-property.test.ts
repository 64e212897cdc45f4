// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it loaded before itself
import "reflect-metadata";
import { createECDH, createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { Pkcs10CertificateRequest, SubjectAlternativeNameExtension } from "@peculiar/x509";
import * as fc from "fast-check";
import { CertificationRequest, Extensions, GeneralNames } from "pkijs";
import { expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { csrFromText, parseCsr, type Csr } from "../../src/pki/csr.ts";
import { bytesOf, readDer, type DerValue } from "../../src/pki/der.ts";
import { ipOctets } from "../../src/pki/ip-address.ts";

// Every mutated request is signed again, so that the structure alone decides whether it is taken.
const ecdh = createECDH("prime256v1");
ecdh.setPrivateKey(createHash("sha256").update("mutations").digest());
const point = ecdh.getPublicKey();
const coordinate = (start: number): string => point.subarray(start, start + 32).toString("base64url");
const key = createPrivateKey({
  format: "jwk",
  key: { kty: "EC", crv: "P-256", x: coordinate(1), y: coordinate(33), d: ecdh.getPrivateKey().toString("base64url") },
});
const spki = createPublicKey(key).export({ type: "spki", format: "der" });

function tlv(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const header = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.from([tag, ...header]), content]);
}

const ecdsaWithSha256 = Buffer.from("300a06082a8648ce3d040302", "hex");

function sealed(info: Uint8Array): Buffer {
  return tlv(0x30, info, ecdsaWithSha256, tlv(0x03, Uint8Array.of(0), sign("sha256", info, key)));
}

const vectors = new URL("../vectors/csr/", import.meta.url);
const unusual = JSON.parse(readFileSync(new URL("unusual.json", vectors), "utf8")) as { der: string }[]; // our own committed file
const requests = [
  ...readdirSync(new URL("good/", vectors))
    .filter((file) => file.includes("P-256"))
    .map((file) => csrFromText(readFileSync(new URL(`good/${file}`, vectors), "utf8"))),
  ...unusual.map(({ der }) => Uint8Array.from(Buffer.from(der, "base64"))),
].filter((der) => der.length < 2000);

// The CertificationRequestInfo of each, under our key.
const infos = requests.flatMap((der) => {
  const [info] = readDer(der, "vector").children;
  const [, , own] = info?.children ?? [];
  if (info === undefined || own === undefined || own.end - own.start !== spki.length) return [];
  const bytes = Buffer.from(bytesOf(info));
  bytes.set(spki, own.start - info.start);
  return [bytes];
});

function nodes(value: DerValue): DerValue[] {
  return [value, ...value.children.flatMap(nodes)];
}

// Writes a tree again with one node changed, so that all lengths around it are right.
function rewrite(value: DerValue, target: number, change: (bytes: Buffer) => Buffer, counter = { index: 0 }): Buffer {
  const index = counter.index++;
  const inner = inside(value);
  const bytes =
    inner.length === 0 ? Buffer.from(bytesOf(value)) : tlv(value.tag, ...inner.map((child) => rewrite(child, target, change, counter)));
  return index === target ? change(bytes) : bytes;
}

// Extension values are trees too.
function inside(value: DerValue): readonly DerValue[] {
  if (value.tag !== 0x04) return value.children;
  try {
    return [readDer(Uint8Array.from(value.source.subarray(value.contentStart, value.end)), "extnValue")];
  } catch {
    return [];
  }
}

const interesting = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x1e, 0x2a, 0x2e, 0x30, 0x31, 0x7f, 0x80, 0x81, 0x82, 0x86, 0x87, 0xa0, 0xff,
];
const octet = fc.oneof(fc.constantFrom(...interesting), fc.integer({ min: 0, max: 255 }));
const base = fc.constantFrom(...infos);
const offset = fc.nat(400);

const flipped = fc.tuple(base, fc.array(fc.tuple(offset, fc.nat(7)), { minLength: 1, maxLength: 3 })).map(([info, flips]) => {
  const bytes = Buffer.from(info);
  for (const [at, bit] of flips) bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << bit);
  return bytes;
});
const overwritten = fc.tuple(base, fc.array(fc.tuple(offset, octet), { minLength: 1, maxLength: 4 })).map(([info, writes]) => {
  const bytes = Buffer.from(info);
  for (const [at, value] of writes) bytes[at % bytes.length] = value;
  return bytes;
});
const truncated = fc.tuple(base, offset).map(([info, length]) => Buffer.from(info.subarray(0, length % info.length)));
const spliced = fc
  .tuple(base, base, offset, offset, fc.nat(60))
  .map(([left, right, at, from, length]) =>
    Buffer.concat([left.subarray(0, at), right.subarray(from % right.length, (from % right.length) + length), left.subarray(at + length)]),
  );
const restructured = fc
  .tuple(base, fc.nat(60), fc.constantFrom("twice", "gone", "emptied", "retagged", "octet"), octet, offset)
  .map(([info, target, act, value, at]) => {
    const tree = readDer(info, "vector");
    return rewrite(tree, target % (nodes(tree).length + 8), (bytes) => {
      if (act === "twice") return Buffer.concat([bytes, bytes]);
      if (act === "gone") return Buffer.alloc(0);
      if (act === "emptied") return Buffer.from([bytes[0] ?? 0, 0]);
      if (act === "retagged") return Buffer.concat([Uint8Array.of(value), bytes.subarray(1)]);
      const changed = Buffer.from(bytes);
      changed[2 + (at % Math.max(1, bytes.length - 2))] = value;
      return changed;
    });
  });

const mutated = fc.oneof(flipped, overwritten, truncated, spliced, restructured, restructured);

async function attempt(der: Uint8Array): Promise<Csr | undefined> {
  try {
    return await parseCsr(der);
  } catch (error) {
    if (error instanceof Fault && (error.code === "badCSR" || error.code === "tooLarge")) return undefined;
    throw error;
  }
}

type Reading = { readonly key: string; readonly names: readonly string[] };

// What the libraries read on their own; undefined when one of them throws. The key: @peculiar/x509, then node:crypto. The names: pkijs, which
// reads each extension apart, and @peculiar/x509 where its getter can read all extensions of the request, those we ignore included.
function libraries(der: Uint8Array): Reading | undefined {
  try {
    const request = new Pkcs10CertificateRequest(Uint8Array.from(der));
    const read = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: "der", type: "spki" });
    const names = pkijsNames(Uint8Array.from(der));
    const others = peculiarNames(request);
    if (others !== undefined && others.join() !== names.join()) return { key: "the libraries differ", names: [...names, ...others] };
    return { key: read.export({ type: "spki", format: "der" }).toString("hex"), names };
  } catch {
    return undefined;
  }
}

function pkijsNames(der: Uint8Array<ArrayBuffer>): string[] {
  const attribute = CertificationRequest.fromBER(der.buffer).attributes?.find(({ type }) => type === "1.2.840.113549.1.9.14");
  if (attribute === undefined) return [];
  const { extensions } = new Extensions({ schema: attribute.values[0] });
  const wrapped = extensions.find(({ extnID }) => extnID === "2.5.29.17");
  if (wrapped === undefined) return [];
  const { names } = GeneralNames.fromBER(Uint8Array.from(wrapped.extnValue.valueBlock.valueHexView).buffer);
  return [...new Set(names.map(({ type, value }) => pkijsName(type, value)))];
}

// pkijs gives text for dNSName and uniformResourceIdentifier and an OCTET STRING for iPAddress.
function pkijsName(type: number, value: unknown): string {
  if (type === 6) return `uri:${comparable("uri", String(value))}`;
  if (type !== 7) return type === 2 ? `dns:${String(value).toLowerCase()}` : `${type}:${String(value)}`;
  const octets = (value as { valueBlock: { valueHexView: Uint8Array } }).valueBlock.valueHexView; // an asn1js.OctetString, type 7 checked above
  return `ip:${octets.length === 4 ? octets.join(".") : Buffer.from(octets).toString("hex")}`;
}

function peculiarNames(request: Pkcs10CertificateRequest): string[] | undefined {
  try {
    const [san] = request.extensions.filter((extension) => extension instanceof SubjectAlternativeNameExtension);
    return [...new Set((san?.names.items ?? []).map(({ type, value }) => `${type === "url" ? "uri" : type}:${comparable(type, value)}`))];
  } catch {
    return undefined;
  }
}

// RFC 3986 §6.2.2.1: scheme and host have no case; an IPv6 host has many spellings.
function comparableStart(start: string): string {
  return start.toLowerCase().replace(/\[(.*)\]/, (_, address: string) => `[${Buffer.from(ipOctets(address) ?? []).toString("hex")}]`);
}

function comparable(type: string, value: string): string {
  if (type === "uri" || type === "url") return value.replace(/^[^:]*:(\/\/[^/?#]*)?/, comparableStart);
  if (type !== "ip") return type === "dns" ? value.toLowerCase() : value;
  return isIPv6(value) ? Buffer.from(ipOctets(value) ?? []).toString("hex") : value;
}

test("mutated requests are refused with a Fault or read alike by the libraries; these alone take what the gate refuses (F-1, F-4, XG-5)", async ({
  annotate,
}) => {
  const seen = { taken: 0, refused: 0, lenient: 0 };
  await fc.assert(
    fc.asyncProperty(mutated, async (info) => {
      const der = sealed(info);
      const csr = await attempt(der);
      if (csr === undefined) {
        seen.refused += 1;
        // A sample of the refused shows that the gate is needed.
        if (seen.refused % 16 === 0 && libraries(der) !== undefined) seen.lenient += 1;
        return;
      }
      seen.taken += 1;
      expect(libraries(der)).toEqual({
        key: Buffer.from(csr.spki).toString("hex"),
        names: csr.names.map(({ type, value }) => `${type}:${comparable(type, value)}`),
      });
    }),
    { numRuns: 6000 },
  );
  await annotate(JSON.stringify(seen));
  expect(seen.taken).toBeGreaterThan(300);
  expect(seen.lenient).toBeGreaterThan(5);
}, 60_000);

test("a request changed in any one bit, or cut anywhere, is refused (F-1)", async () => {
  const wholes = fc.tuple(fc.constantFrom(...requests), offset, fc.nat(7), fc.boolean());
  await fc.assert(
    fc.asyncProperty(wholes, async ([request, at, bit, cut]) => {
      const der = cut ? request.slice(0, at % request.length) : Uint8Array.from(request);
      if (!cut) der[at % der.length] = (der[at % der.length] ?? 0) ^ (1 << bit);
      expect(await attempt(der)).toBeUndefined();
    }),
    { numRuns: 3000 },
  );
}, 60_000);

test("the libraries alone take many of the malformed requests of the vectors (TR-1)", () => {
  const malformed = JSON.parse(readFileSync(new URL("malformed.json", vectors), "utf8")) as { name: string; der: string }[]; // our own committed file
  const taken = malformed
    .filter(({ der }) => der.length > 8 && der.length < 5000 && libraries(Buffer.from(der, "base64")) !== undefined)
    .map(({ name }) => name);
  expect(taken).toEqual(
    expect.arrayContaining([
      "version 1",
      "extensionRequest with two values",
      "NUL in a dNSName",
      "the RSA exponent 1",
      "a CN of type INTEGER",
    ]),
  );
  expect(taken.length).toBeGreaterThan(40);
});
