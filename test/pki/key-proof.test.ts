import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { Fault } from "../../src/fault.ts";
import { spkiSha256 } from "../../src/pki/algorithm.ts";
import { keyProofInfo, requireKeyProof, sealKeyProof } from "../../src/pki/key-proof.ts";

const directory = mkdtempSync(join(tmpdir(), "chancery-proof-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Has openssl write PrintableString, which it does not by itself. */
const printable = join(directory, "printable.cnf");
writeFileSync(printable, "[req]\nstring_mask = pkix\ndistinguished_name = name\n[name]\n");

const serial = "4f0c2a7d90b1e3856c4d2f1a0b9e8d7c";
const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] });

/** A key that openssl made, and requests that openssl signs with it. */
function opensslKey(name: string, ...options: string[]) {
  const file = join(directory, name);
  openssl("genpkey", "-out", file, ...options);
  const spki = openssl("pkey", "-in", file, "-pubout", "-outform", "DER");
  return {
    file,
    spki,
    spkiSha256: spkiSha256(spki),
    request: (subject: string, ...more: string[]) => openssl("req", "-new", "-key", file, "-subj", subject, "-outform", "DER", ...more),
  };
}

const ec = opensslKey("ec", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256");
const p384 = opensslKey("p384", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384");
const rsa = opensslKey("rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048");
const subject = `/CN=chancery key compromise ${serial}`;
const good = ec.request(subject);

const badCsr = (detail: RegExp) =>
  expect.objectContaining({ name: "Fault", code: "badCSR", detail: expect.stringMatching(detail) as unknown });

describe("a key shows that it is compromised by a request that names the certificate (XC-5)", () => {
  test.for([
    { name: "P-256", key: ec, more: [] },
    { name: "P-256, SHA-384", key: ec, more: ["-sha384"] },
    { name: "P-384", key: p384, more: [] },
    { name: "RSA-2048", key: rsa, more: [] },
    { name: "P-256, PrintableString", key: ec, more: ["-config", printable] },
  ])("made by openssl with $name", async ({ key, more }) => {
    await requireKeyProof(key.request(subject, ...more), { serial, spkiSha256: key.spkiSha256 });
  });

  test.for([
    {
      name: "an ordinary request of the same key",
      der: () => ec.request("/CN=www.example.org"),
      says: /subject of the proof must be CN=chancery key compromise 4f0c/,
    },
    { name: "one for another certificate", der: () => ec.request(`/CN=chancery key compromise ${"5".repeat(32)}`), says: /subject/ },
    { name: "one with an attribute more", der: () => ec.request(`/O=Example${subject}`), says: /subject/ },
    { name: "one with the empty name", der: () => ec.request("/"), says: /subject/ },
    { name: "another key's", der: () => rsa.request(subject), says: /key of the proof is not the certificate's/ },
    { name: "a signature over something else", der: () => swapped(), says: /signature of the proof/ },
    { name: "SHA-1", der: () => ec.request(subject, "-sha1"), says: /algorithm/ },
    { name: "octets behind", der: () => Buffer.concat([good, Buffer.of(0)]), says: /./ },
    { name: "nothing", der: () => Buffer.alloc(0), says: /./ },
  ])("refuses $name", async ({ der, says }) => {
    await expect(requireKeyProof(der(), { serial, spkiSha256: ec.spkiSha256 })).rejects.toEqual(badCsr(says));
  });

  test("what we make ourselves openssl verifies, and so do we", async () => {
    const info = keyProofInfo(serial, ec.spki);
    const der = sealKeyProof(info, "ecdsa-with-SHA256", sign("sha256", info, createPrivateKey(openssl("pkey", "-in", ec.file).toString())));
    const shown = execFileSync("openssl", ["req", "-inform", "DER", "-noout", "-verify", "-subject"], {
      input: der,
      stdio: ["pipe", "pipe", "pipe"],
    });
    expect(shown.toString()).toContain(`CN = chancery key compromise ${serial}`);
    expect(createPublicKey({ key: Buffer.from(ec.spki), format: "der", type: "spki" }).asymmetricKeyType).toBe("ec");
    await requireKeyProof(der, { serial, spkiSha256: ec.spkiSha256 });
  });

  test("one octet changed, taken out or put in: refused in words, never taken and never an error of another kind", async () => {
    const change = fc.record({ at: fc.nat(good.length - 1), to: fc.nat(255), how: fc.constantFrom("change", "take", "put") });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, to, how }) => {
        const octets = [...good];
        octets.splice(at, how === "put" ? 0 : 1, ...(how === "take" ? [] : [to]));
        if (Buffer.from(octets).equals(good)) return;
        const refused = await requireKeyProof(Buffer.from(octets), { serial, spkiSha256: ec.spkiSha256 }).catch((error: unknown) => error);
        expect(refused).toBeInstanceOf(Fault);
        expect(refused).toMatchObject({ code: expect.stringMatching(/^(badCSR|tooLarge)$/) as unknown });
      }),
      { numRuns: 1_000 },
    );
  });
});

/** The body of one request under the signature of another of the same key. */
function swapped(): Uint8Array {
  const info = keyProofInfo(serial, ec.spki);
  const other = keyProofInfo("5".repeat(32), ec.spki);
  return sealKeyProof(info, "ecdsa-with-SHA256", sign("sha256", other, createPrivateKey(openssl("pkey", "-in", ec.file).toString())));
}
