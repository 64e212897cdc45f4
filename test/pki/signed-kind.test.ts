import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { signedKind } from "../../src/pki/signed-kind.ts";

// Written by hand, apart from our writer: identifier octet, length, content.
function tlv(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length =
    content.length < 0x80
      ? [content.length]
      : content.length < 0x100
        ? [0x81, content.length]
        : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Uint8Array.from([tag, ...length]), content]);
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const ascii = (tag: number, text: string): Buffer => tlv(tag, Buffer.from(text));

const ecdsa = hex("300a06082a8648ce3d040302");
const name = hex("300c 310a 3008 0603550403 0c0161");
const spki = tlv(0x30, hex("301306072a8648ce3d020106082a8648ce3d030107"), tlv(0x03, hex("00 04"), Buffer.alloc(64, 1)));
const validity = tlv(0x30, ascii(0x17, "260101000000Z"), ascii(0x17, "270101000000Z"));
const extension = (oid: string, value: Uint8Array, critical = hex("0101ff")): Buffer => tlv(0x30, hex(oid), critical, tlv(0x04, value));
const ca = extension("0603551d13", hex("30030101ff"));
const notCa = extension("0603551d13", hex("3000"));
const leafUsage = extension("0603551d0f", hex("03020780"));
const certSign = extension("0603551d0f", hex("03020106"));

type Parts = {
  version: Uint8Array;
  serial: Uint8Array;
  signature: Uint8Array;
  subject: Uint8Array;
  extensions: Uint8Array[];
  rest: Uint8Array[];
};

function tbsCertificate(change: Partial<Parts> = {}): Buffer {
  const parts: Parts = {
    version: hex("a003020102"),
    serial: hex("02104000000000000000000000000000000a"),
    signature: ecdsa,
    subject: name,
    extensions: [notCa, leafUsage],
    rest: [],
    ...change,
  };
  return tlv(
    0x30,
    parts.version,
    parts.serial,
    parts.signature,
    name,
    validity,
    parts.subject,
    spki,
    tlv(0xa3, tlv(0x30, ...parts.extensions)),
    ...parts.rest,
  );
}

const entry = tlv(0x30, hex("020105"), ascii(0x17, "260101000000Z"));
const keyCompromise = tlv(0x30, hex("300a 0603551d15 0403 0a0101"));
const crlNumber = extension("0603551d14", hex("020101"), Buffer.alloc(0));
const crlParts = {
  version: hex("020101"),
  signature: ecdsa,
  issuer: name,
  thisUpdate: ascii(0x17, "260101000000Z"),
  nextUpdate: ascii(0x17, "260102000000Z"),
  entries: tlv(0x30, entry, tlv(0x30, hex("020106"), ascii(0x17, "260101000000Z"), keyCompromise)),
  extensions: tlv(0xa0, tlv(0x30, crlNumber)),
  rest: Buffer.alloc(0),
};
const none = Buffer.alloc(0);

function tbsCertListOf(change: Partial<Record<keyof typeof crlParts, Uint8Array>> = {}): Buffer {
  return tlv(0x30, ...Object.values({ ...crlParts, ...change }));
}
const tbsCertList = tbsCertListOf();
const single = tlv(
  0x30,
  tlv(0x30, hex("300906052b0e03021a0500"), hex("0401aa"), hex("0401bb"), hex("020105")),
  hex("8000"),
  ascii(0x18, "20260101000000Z"),
);
const byKey = tlv(0x30, tlv(0xa2, tlv(0x04, Buffer.alloc(20))), ascii(0x18, "20260101000000Z"), tlv(0x30, single));
const byName = tlv(0x30, tlv(0xa1, name), ascii(0x18, "20260101000000Z"), tlv(0x30, single));
const request = tlv(0x30, hex("020100"), name, spki, hex("a000"));

test.for([
  { name: "a TBSCertificate with cA absent", bytes: tbsCertificate(), kind: "certificate" },
  { name: "a TBSCertificate without basicConstraints", bytes: tbsCertificate({ extensions: [leafUsage] }), kind: "certificate" },
  { name: "a TBSCertificate with an empty subject", bytes: tbsCertificate({ subject: hex("3000") }), kind: "certificate" },
  { name: "a TBSCertificate with cA TRUE", bytes: tbsCertificate({ extensions: [ca, certSign] }), kind: "subordinate" },
  {
    name: "cA TRUE and pathLenConstraint 0",
    bytes: tbsCertificate({ extensions: [extension("0603551d13", hex("30060101ff020100")), certSign] }),
    kind: "subordinate",
  },
  {
    name: "cA TRUE, the last extension, not critical",
    bytes: tbsCertificate({ extensions: [certSign, extension("0603551d13", hex("30030101ff"), Buffer.alloc(0))] }),
    kind: "subordinate",
  },
  { name: "a TBSCertList", bytes: tbsCertList, kind: "crl" },
  { name: "a TBSCertList without entries", bytes: tbsCertListOf({ entries: none }), kind: "crl" },
  { name: "a TBSCertList with an empty list of entries", bytes: tbsCertListOf({ entries: hex("3000") }), kind: undefined },
  { name: "a TBSCertList without nextUpdate", bytes: tbsCertListOf({ nextUpdate: none }), kind: undefined },
  { name: "a TBSCertList without extensions", bytes: tbsCertListOf({ extensions: none }), kind: undefined },
  { name: "a TBSCertList without cRLNumber", bytes: tbsCertListOf({ extensions: hex("a0023000") }), kind: undefined },
  {
    name: "a TBSCertList with cRLNumber twice",
    bytes: tbsCertListOf({ extensions: tlv(0xa0, tlv(0x30, crlNumber, crlNumber)) }),
    kind: undefined,
  },
  { name: "a TBSCertList with a field behind its extensions", bytes: tbsCertListOf({ rest: hex("0500") }), kind: undefined },
  { name: "a TBSCertList whose fifth field is something else", bytes: tbsCertListOf({ nextUpdate: hex("040141") }), kind: undefined },
  { name: "a TBSCertList with an entry that is no entry", bytes: tbsCertListOf({ entries: hex("3003 020105") }), kind: undefined },
  {
    name: "a TBSCertList with an entry of a negative serial",
    bytes: tbsCertListOf({ entries: tlv(0x30, tlv(0x30, hex("0201ff"), crlParts.thisUpdate)) }),
    kind: undefined,
  },
  { name: "a TBSCertList with an entry without a date", bytes: tbsCertListOf({ entries: hex("3005 3003 020105") }), kind: undefined },
  {
    name: "a TBSCertList with an entry whose extensions are empty",
    bytes: tbsCertListOf({ entries: tlv(0x30, tlv(0x30, hex("020105"), crlParts.thisUpdate, hex("3000"))) }),
    kind: undefined,
  },
  { name: "ResponseData byKey", bytes: byKey, kind: "ocsp" },
  { name: "ResponseData byName", bytes: byName, kind: "ocsp" },
  { name: "a CertificationRequestInfo", bytes: request, kind: "request" },
  { name: "a text", bytes: Buffer.from("chancery binding test\n4f0c\n"), kind: "text" },
  { name: "a TBSCertificate without keyUsage", bytes: tbsCertificate({ extensions: [notCa] }), kind: undefined },
  { name: "a TBSCertificate without extensions", bytes: tbsCertificate({ extensions: [] }), kind: undefined },
  { name: "cA TRUE without keyUsage", bytes: tbsCertificate({ extensions: [ca] }), kind: undefined },
  { name: "cA TRUE without keyCertSign", bytes: tbsCertificate({ extensions: [ca, leafUsage] }), kind: undefined },
  {
    name: "Netscape's certificate type SSL CA",
    bytes: tbsCertificate({ extensions: [leafUsage, extension("06096086480186f8420101", hex("03020204"), Buffer.alloc(0))] }),
    kind: undefined,
  },
  {
    name: "basicConstraints of before RFC 2459 (2.5.29.10)",
    bytes: tbsCertificate({ extensions: [leafUsage, extension("0603551d0a", hex("300403020780"), Buffer.alloc(0))] }),
    kind: undefined,
  },
  {
    name: "an extension that nobody knows",
    bytes: tbsCertificate({ extensions: [leafUsage, extension("06032a0304", hex("0500"), Buffer.alloc(0))] }),
    kind: undefined,
  },
  {
    name: "cRLSign without cA TRUE",
    bytes: tbsCertificate({ extensions: [extension("0603551d0f", hex("03020102"))] }),
    kind: undefined,
  },
  { name: "keyCertSign without cA TRUE", bytes: tbsCertificate({ extensions: [notCa, certSign] }), kind: undefined },
  { name: "basicConstraints twice", bytes: tbsCertificate({ extensions: [notCa, ca, certSign] }), kind: undefined },
  {
    name: "cA FALSE written out",
    bytes: tbsCertificate({ extensions: [extension("0603551d13", hex("3003010100")), leafUsage] }),
    kind: undefined,
  },
  { name: "cA of 01", bytes: tbsCertificate({ extensions: [extension("0603551d13", hex("3003010101")), certSign] }), kind: undefined },
  {
    name: "pathLenConstraint without cA",
    bytes: tbsCertificate({ extensions: [extension("0603551d13", hex("3003020100")), leafUsage] }),
    kind: undefined,
  },
  {
    name: "basicConstraints that are no DER",
    bytes: tbsCertificate({ extensions: [extension("0603551d13", hex("30800101ff0000")), certSign] }),
    kind: undefined,
  },
  {
    name: "bytes after basicConstraints",
    bytes: tbsCertificate({ extensions: [extension("0603551d13", hex("300030030101ff")), certSign] }),
    kind: undefined,
  },
  { name: "a certificate of version 1", bytes: tbsCertificate({ version: hex("a003020100") }), kind: undefined },
  { name: "no version", bytes: tbsCertificate({ version: Buffer.alloc(0) }), kind: undefined },
  { name: "a negative serial", bytes: tbsCertificate({ serial: hex("0201ff") }), kind: undefined },
  { name: "a signature algorithm that is not ours", bytes: tbsCertificate({ signature: hex("300906072a8648ce3d0401") }), kind: undefined },
  { name: "a field after the extensions", bytes: tbsCertificate({ rest: [hex("0500")] }), kind: undefined },
  { name: "a byte after the structure", bytes: Buffer.concat([tbsCertificate(), Uint8Array.of(0)]), kind: undefined },
  { name: "a byte after a TBSCertList", bytes: Buffer.concat([tbsCertList, Uint8Array.of(0)]), kind: undefined },
  { name: "a TBSCertList of version 1", bytes: tlv(0x30, ecdsa, name, ascii(0x17, "260101000000Z")), kind: undefined },
  { name: "a whole certificate", bytes: tlv(0x30, tbsCertificate(), ecdsa, hex("030100")), kind: undefined },
  { name: "a request of version 1", bytes: tlv(0x30, hex("020101"), name, spki, hex("a000")), kind: undefined },
  { name: "a digest", bytes: Buffer.alloc(32, 0x31), kind: "text" },
  { name: "a digest that is no text", bytes: Buffer.alloc(32, 0x9c), kind: undefined },
  { name: "a text that begins with 0x30", bytes: Buffer.from("0 chancery"), kind: undefined },
  { name: "a text with NUL", bytes: Buffer.from("a\0b"), kind: undefined },
  { name: "no bytes", bytes: Buffer.alloc(0), kind: undefined },
  { name: "an empty SEQUENCE", bytes: hex("3000"), kind: undefined },
] as const)("$name is $kind (PK-62)", ({ bytes, kind }) => {
  expect(signedKind(bytes)).toBe(kind);
});

test("the request info of other writers is a request", () => {
  const file = new URL("../vectors/csr/good/openssl-P-256.pem", import.meta.url);
  const der = Buffer.from(readFileSync(file, "utf8").replace(/-----.*-----|\n/g, ""), "base64");
  // 30 82 …… 30 81 …: the outer header, then the request info with its own.
  const info = der.subarray(4, 4 + 3 + (der[6] ?? 0));
  expect([der[1], info[0], info[1]]).toEqual([0x82, 0x30, 0x81]);
  expect(signedKind(info)).toBe("request");
});

test("OpenSSL agrees which of the certificates above is a CA's", () => {
  for (const [tbs, words] of [
    [tbsCertificate(), "CA:FALSE"],
    [tbsCertificate({ extensions: [ca, certSign] }), "CA:TRUE"],
  ] as const) {
    const certificate = tlv(0x30, tbs, ecdsa, tlv(0x03, Uint8Array.of(0), hex("3006020101020101")));
    expect(execFileSync("openssl", ["x509", "-inform", "DER", "-noout", "-text"], { input: certificate }).toString()).toContain(words);
  }
});

function longSequence(content: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(0x30, 0x83, content.length >> 16, (content.length >> 8) & 0xff, content.length & 0xff), content]);
}

test("a CRL of any size is walked to its end (RFC 5280 §5.1)", () => {
  const entries = Array.from({ length: 100_000 }, () => entry);
  expect(signedKind(longCrl(entries))).toBe("crl");
  expect(signedKind(longCrl([...entries, hex("3003020105")]))).toBeUndefined();
});

function longCrl(entries: readonly Uint8Array[]): Buffer {
  const { version, signature, issuer, thisUpdate, nextUpdate, extensions } = crlParts;
  return longSequence(
    Buffer.concat([version, signature, issuer, thisUpdate, nextUpdate, longSequence(Buffer.concat(entries)), extensions]),
  );
}

test("no change of octets makes a subordinate of a certificate but one that a strict reader sees (F-1)", () => {
  const certificate = tbsCertificate();
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(certificate.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (writes) => {
      const bytes = Buffer.from(certificate);
      for (const [at, value] of writes) bytes[at] = value;
      const kind = signedKind(bytes);
      // cA TRUE needs three octets that are not there.
      expect([undefined, "certificate", "text"]).toContain(kind);
    }),
    { numRuns: 3000 },
  );
});
