import { createPublicKey, hash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pkcs11js from "pkcs11js";
import { ecdsaDer, verificationKey } from "../../src/pki/algorithm.ts";
import { notAfterOf, parseCertificate, sealCertificate, tbsCertificate, type Issuer } from "../../src/pki/certificate.ts";
import { decodePem, encodePem } from "../../src/pki/pem.ts";
import { profileByName } from "../../src/pki/profile.ts";
import { outputOf } from "../execute.ts";
import { pkcs11Module, type Service } from "../service.ts";
import type { Family } from "./method.ts";
import { filesOf, newKey, profiles, statusUrls, type Place } from "./stock.ts";
import type { Specimen } from "./tool.ts";

/**
 * A certificate that the authority's key signed, and that the service knows nothing of: whoever got at the token made it. Everything in it is as in
 * `model`, one of ours, but its serial number was never assigned. No CRL can tell; the responder must not call it good (XO-5).
 */
export async function signUnassigned(service: Service, place: Place, family: Family, model: Specimen): Promise<Specimen> {
  const files = filesOf(place, family, "unassigned serial");
  await newKey(files.key);
  const issuer = await issuerOf(place.issuer, model);
  const profile = profileByName(profiles[family]);
  if (profile === undefined) throw new Error(`no profile ${profiles[family]}`);
  const spki = createPublicKey(await readFile(files.key)).export({ type: "spki", format: "der" });
  const notBefore = new Date(Math.floor(Date.now() / 1000) * 1000);
  const serial = `40${Buffer.from(crypto.getRandomValues(new Uint8Array(15))).toString("hex")}`;
  const draw = { serial, notBefore, notAfter: notAfterOf(notBefore, profile.lifetimeSeconds.minimum) };
  const tbs = tbsCertificate(issuer, profile, { subject: [], names: [{ type: "dns", value: files.name }], spki }, draw);
  const signature = await signWithToken(service, tbs);
  const certificate = await sealCertificate(tbs, verificationKey(issuer.spki), signature);
  if (certificate === undefined) throw new Error("the token's signature does not verify under the issuer's key");
  await writeFile(files.certificate, encodePem("CERTIFICATE", certificate));
  return { condition: "unassigned serial", ...files, issuer: place.issuer, root: place.root, ...(await statusUrls(files.certificate)) };
}

async function issuerOf(file: string, { crlUrl, ocspUrl, certificate }: Specimen): Promise<Issuer> {
  const [der] = decodePem(await readFile(file, "utf8"), "CERTIFICATE");
  if (der === undefined) throw new Error(`no certificate in ${file}`);
  const { subject, spki, keyAlgorithm, notAfter, subjectKeyIdentifier } = parseCertificate(der);
  if (subjectKeyIdentifier === undefined) throw new Error(`${file} has no subjectKeyIdentifier`);
  const text = await outputOf("openssl", ["x509", "-in", certificate, "-noout", "-ext", "authorityInfoAccess"]);
  const caIssuers = /CA Issuers - URI:(\S+)/.exec(text)?.[1] ?? "";
  return { subject, spki, algorithm: keyAlgorithm, notAfter, subjectKeyIdentifier, urls: { caIssuers, ocsp: ocspUrl, crl: crlUrl } };
}

/** A P-256 signature by the issuing key of an evaluation, over its token and with its PIN, beside the service. */
async function signWithToken({ dataDirectory }: Service, bytes: Uint8Array): Promise<Uint8Array> {
  const pin = (await readFile(join(dataDirectory, "issuing.pin"), "utf8")).trim();
  // SoftHSM looks for its tokens where this variable leads.
  process.env["SOFTHSM2_CONF"] = join(dataDirectory, "softhsm2.conf");
  const token = new pkcs11js.PKCS11();
  token.load(pkcs11Module());
  token.C_Initialize();
  try {
    const slot = token.C_GetSlotList(true).find((one) => token.C_GetTokenInfo(one).label.trim() === "chancery-issuing");
    if (slot === undefined) throw new Error("no token has the label chancery-issuing");
    const session = token.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION);
    token.C_Login(session, pkcs11js.CKU_USER, pin);
    const key = privateKey(token, session, "issuing-1 ");
    token.C_SignInit(session, { mechanism: pkcs11js.CKM_ECDSA }, key);
    return ecdsaDer(token.C_Sign(session, hash("sha256", bytes, "buffer"), Buffer.alloc(64)));
  } finally {
    token.C_Finalize();
    token.close();
    delete process.env["SOFTHSM2_CONF"];
  }
}

/** The private key whose label begins with `name`. */
function privateKey(token: pkcs11js.PKCS11, session: Buffer, name: string): Buffer {
  token.C_FindObjectsInit(session, [{ type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_PRIVATE_KEY }]);
  const found = token.C_FindObjects(session, 50);
  token.C_FindObjectsFinal(session);
  const labelled = found.find((one) => {
    const [label] = token.C_GetAttributeValue(session, one, [{ type: pkcs11js.CKA_LABEL }]);
    return String(label?.value).startsWith(name);
  });
  if (labelled === undefined) throw new Error(`the token has no private key ${name}`);
  return labelled;
}
