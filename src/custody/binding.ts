import { Fault } from "../fault.ts";
import { signatureAlgorithm, spkiSha256, verificationKey, verifySignature } from "../pki/algorithm.ts";
import { bindingHead } from "../pki/signed-text.ts";
import type { KeyReference } from "../ports/hsm.ts";
import type { Custody, KeyPair } from "./key-pair.ts";

/** Why a recorded pair must not sign: the token holds nothing of its CKA_ID, or something else than was recorded. */
export type BindingProblem = { readonly kind: "absent" | "different"; readonly detail: string };

/**
 * Undefined when the token still holds this pair as it was recorded: its attributes are those of a signing key, its public key and its
 * label are the recorded ones, and it signs under them. A problem is told as `key.unusable`.
 * @throws Fault `hsmUnavailable` when the token does not answer: that says nothing of the key.
 */
export async function bindKeyPair(custody: Custody, keyPair: KeyPair): Promise<BindingProblem | undefined> {
  const problem = await bindingProblem(custody, keyPair);
  if (problem === undefined) return undefined;
  const { token, ckaId } = keyPair.reference;
  custody.events.tell("error", "key.unusable", { name: keyPair.name, token, ckaId, detail: problem.detail });
  return problem;
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

async function bindingProblem(custody: Custody, { reference, spki, evidence }: KeyPair): Promise<BindingProblem | undefined> {
  try {
    const found = await custody.hsm.read(reference.ckaId);
    if (!found) return { kind: "absent", detail: "the token has no pair of this CKA_ID" };
    if (spkiSha256(found.spki) !== reference.spkiSha256) return different("the token's public key is not the recorded one");
    if (found.evidence["private.CKA_LABEL"] !== evidence["private.CKA_LABEL"]) return different("the key's label is not the recorded one");
    return (await signsUnder(custody, reference, spki))
      ? undefined
      : different("a signature of the key does not verify under the recorded public key");
  } catch (error) {
    if (error instanceof Fault && error.code === "internal")
      return different(error.cause instanceof Error ? error.cause.message : error.detail);
    throw error;
  }
}

function different(detail: string): BindingProblem {
  return { kind: "different", detail };
}
