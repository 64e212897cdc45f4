import { Fault } from "../fault.ts";
import { signatureAlgorithm, spkiSha256, verificationKey, verifySignature } from "../pki/algorithm.ts";
import { bindingHead } from "../pki/signed-text.ts";
import type { KeyReference } from "../ports/hsm.ts";
import type { Custody, KeyPair } from "./key-pair.ts";

/**
 * Whether the token still holds this pair as it was recorded: its attributes are those of a signing key, its public key and its label
 * are the recorded ones, and it signs under them. False is told as `key.unusable`, with the reason.
 * @throws Fault `hsmUnavailable` when the token does not answer: that says nothing of the key.
 */
export async function bindKeyPair(custody: Custody, keyPair: KeyPair): Promise<boolean> {
  const problem = await bindingProblem(custody, keyPair);
  if (problem === undefined) return true;
  const { token, ckaId } = keyPair.reference;
  custody.events.tell("error", "key.unusable", { name: keyPair.name, token, ckaId, detail: problem });
  return false;
}

/**
 * Whether the key signs a fresh text under `spki`: that the private half is the one whose public half we trust.
 * The text begins with another octet than 0x30, so its signature is none of a certificate, CRL or OCSP response.
 */
export async function signsUnder(custody: Pick<Custody, "hsm" | "random">, key: KeyReference, spki: Uint8Array): Promise<boolean> {
  const nonce = Buffer.from(custody.random.bytes(16)).toString("hex");
  const text = Buffer.from(`${bindingHead}${key.token}\n${key.ckaId}\n${nonce}\n`);
  const signature = await custody.hsm.sign(key, "binding", text, "background");
  return verifySignature(verificationKey(spki), signatureAlgorithm(key.algorithm), text, signature);
}

async function bindingProblem(custody: Custody, { reference, spki, evidence }: KeyPair): Promise<string | undefined> {
  try {
    const found = await custody.hsm.read(reference.ckaId);
    if (!found) return "the token has no pair of this CKA_ID";
    if (spkiSha256(found.spki) !== reference.spkiSha256) return "the token's public key is not the recorded one";
    if (found.evidence["private.CKA_LABEL"] !== evidence["private.CKA_LABEL"]) return "the key's label is not the recorded one";
    return (await signsUnder(custody, reference, spki))
      ? undefined
      : "a signature of the key does not verify under the recorded public key";
  } catch (error) {
    if (error instanceof Fault && error.code === "internal") return error.cause instanceof Error ? error.cause.message : error.detail;
    throw error;
  }
}
