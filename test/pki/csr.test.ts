import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { csrFromText, maximumCsrOctets, parseCsr } from "../../src/pki/csr.ts";
import { Fault } from "../../src/fault.ts";

const vectors = new URL("../vectors/csr/", import.meta.url);

type Malformed = { readonly rule: string; readonly name: string; readonly code: string; readonly detail: string; readonly der: string };
type Unusual = { readonly name: string; readonly names: readonly string[]; readonly der: string };

function json<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(file, vectors), "utf8")) as T; // our own committed file
}

async function refusal(act: () => unknown): Promise<Fault> {
  try {
    await act();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

const good = readdirSync(new URL("good/", vectors));

test.for(good)("takes key and names from the request of another writer: %s", async (file) => {
  const csr = await parseCsr(csrFromText(readFileSync(new URL(`good/${file}`, vectors), "utf8")));
  expect(file).toContain(`-${csr.keyAlgorithm}.pem`);
  expect(csr.names).toEqual([
    { type: "dns", value: "a.example.org" },
    { type: "dns", value: "b.example.org" },
    { type: "ip", value: "192.0.2.1" },
  ]);
});

test("six writers made a request for each of five kinds of key", () => {
  expect(good).toHaveLength(30);
});

test.for(json<Malformed[]>("malformed.json"))("refuses $name ($rule)", async ({ der, code, detail }) => {
  const fault = await refusal(() => parseCsr(Buffer.from(der, "base64")));
  expect(fault.code).toBe(code);
  expect(fault.detail).toContain(detail);
});

test.for(json<Unusual[]>("unusual.json"))("takes $name (XG-4)", async ({ der, names }) => {
  const csr = await parseCsr(Buffer.from(der, "base64"));
  expect(csr.names.map((name) => name.value)).toEqual(names);
});

test("takes a request whose key is a prime modulus: that is asked behind everything that costs less (XK-2)", async () => {
  const { der } = json<{ der: string }>("prime-modulus.json");
  expect(await parseCsr(Buffer.from(der, "base64"))).toMatchObject({ keyAlgorithm: "RSA-2048" });
});

test("the cap of 16 KiB stands at 16,384 octets (XG-2)", async () => {
  expect(await refusal(() => parseCsr(new Uint8Array(maximumCsrOctets)))).toMatchObject({ code: "badCSR" });
  expect(await refusal(() => parseCsr(new Uint8Array(maximumCsrOctets + 1)))).toMatchObject({ code: "tooLarge" });
});

function tlv(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length < 0x80 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Uint8Array.from([tag, ...length]), content]);
}

test("names are counted before any of them is read (XG-2)", async () => {
  const other = Buffer.from(base64, "base64");
  const start = other.indexOf("3059301306072a8648ce3d0201", 0, "hex");
  const spki = other.subarray(start, start + 91);
  const names = tlv(0x30, ...Array.from({ length: 1_900 }, () => Buffer.from("8200", "hex")));
  const extensions = tlv(0x30, tlv(0x30, Buffer.from("0603551d11", "hex"), tlv(0x04, names)));
  const attributes = tlv(0xa0, tlv(0x30, Buffer.from("06092a864886f70d01090e", "hex"), tlv(0x31, extensions)));
  const info = tlv(0x30, Buffer.from("0201003000", "hex"), spki, attributes);
  const request = tlv(0x30, info, Buffer.from("300a06082a8648ce3d040302", "hex"), Buffer.from("030100", "hex"));
  expect(await refusal(() => parseCsr(request))).toMatchObject({ code: "badCSR", detail: expect.stringContaining("has 1900 names") });
});

test("a caller that reuses its buffer while the signature is verified changes nothing", async () => {
  const [request] = json<Unusual[]>("unusual.json");
  const der = Buffer.from(request?.der ?? "", "base64");
  const pending = parseCsr(der);
  der.fill(0);
  expect((await pending).names).toEqual([{ type: "dns", value: "a.example.org" }]);
});

const pem = readFileSync(new URL("good/openssl-P-256.pem", vectors), "utf8");
const base64 = pem.replace(/-----.*-----|\n/g, "");

test.for([
  { name: "PEM", text: pem },
  { name: "PEM labelled NEW CERTIFICATE REQUEST", text: pem.replaceAll("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST") },
  { name: "PEM with CR LF", text: pem.replaceAll("\n", "\r\n") },
  { name: "base64 on one line", text: base64 },
  { name: "base64 in lines of 76 characters", text: `${base64.replace(/.{76}/g, "$&\n")}\n` },
  { name: "base64 in lines with CR LF", text: `${base64.replace(/.{64}/g, "$&\r\n")}\r\n` },
])("takes a request as $name (RFC 7468 §7)", ({ text }) => {
  expect(Buffer.from(csrFromText(text)).toString("base64")).toBe(base64);
});

test.for([
  { name: "nothing", text: "" },
  { name: "two blocks", text: pem + pem },
  { name: "a certificate", text: pem.replaceAll("CERTIFICATE REQUEST", "CERTIFICATE") },
  { name: "base64 with a blank line", text: base64.replace(/.{64}/, "$&\n\n") },
  { name: "base64 with a space at the end of a line", text: base64.replace(/.{64}/, "$& \n") },
  { name: "base64 with an indented line", text: base64.replace(/.{64}/, "$&\n ") },
  { name: "base64 with a lone CR", text: base64.replace(/.{64}/, "$&\r") },
  { name: "base64url", text: base64.replaceAll("+", "-").replaceAll("/", "_") },
  { name: "base64 without its padding", text: base64.replace(/=*$/, "*") },
  { name: "a block that does not end", text: pem.slice(0, -10) },
])("refuses $name as the text of a request", async ({ text }) => {
  expect(await refusal(() => csrFromText(text))).toMatchObject({ code: "badCSR" });
});
