import { join } from "node:path";
import { impostorRoot, tampered, type Specimen } from "./certificates.ts";
import type { Matrix, Run } from "./matrix.ts";
import { go, gnutls, java, openssl, type Question, type Verifier } from "./peer/verifier.ts";

/** A question with the answer it must get. */
type Case = Question & { readonly label: string; readonly check: string; readonly accept: boolean };

/**
 * Every specimen is accepted by OpenSSL, GnuTLS, Java and Go for each purpose of its profile, and refused by the same programs in the same run
 * where something is wrong: without those controls, "accepted" would mean little.
 */
export async function verifiers({ matrix, peers }: Run, specimens: readonly Specimen[], directory: string): Promise<void> {
  const cases = (await Promise.all(specimens.map((specimen) => casesOf(specimen, directory)))).flat();
  for (const verifier of [openssl, gnutls, java, go]) if (verifier.peer in peers.versions) await judge(matrix, verifier, cases);
}

async function casesOf(specimen: Specimen, directory: string): Promise<Case[]> {
  const { label, certificate, intermediates, root, name, purposes, refused } = specimen;
  const file = join(directory, label.replaceAll(" ", "-"));
  const good = purposes.map((purpose): Case => {
    const asked = { label, check: `accepted for ${purpose}`, accept: true, certificate, root, purpose };
    return { ...asked, ...(intermediates === undefined ? {} : { intermediates }), ...(name === undefined ? {} : { name }) };
  });
  const [first] = good;
  if (first === undefined) return [];
  const bad = { ...first, accept: false };
  const otherRoot = {
    ...bad,
    check: "refused under a root of the same name with another key",
    root: await impostorRoot(root, `${file}-impostor.pem`),
  };
  // Nothing stands above a root: whoever trusts it, trusts its bytes, so a changed one proves nothing.
  if (certificate === root) return [...good, otherRoot];
  const { intermediates: _, ...bare } = bad;
  return [
    ...good,
    otherRoot,
    { ...bad, check: "refused with one bit changed", certificate: await tampered(certificate, `${file}-tampered.pem`) },
    ...(name === undefined ? [] : [{ ...bad, check: "refused under another name", name: "other.example.net" }]),
    ...(intermediates === undefined ? [] : [{ ...bare, check: "refused without its issuer" }]),
    ...refused.map((purpose) => ({ ...bad, check: `refused for ${purpose}`, purpose })),
  ];
}

async function judge(matrix: Matrix, verifier: Verifier, cases: readonly Case[]): Promise<void> {
  const answers = await verifier.answers(cases).catch((error: unknown) => {
    // No answer at all: each case fails with the reason.
    return cases.map(() => ({ accepted: undefined, words: String(error) }));
  });
  for (const [index, { label, check, accept }] of cases.entries()) {
    const answer = answers[index];
    await matrix.check({ subject: label, peer: verifier.peer, check }, async () =>
      answer?.accepted === accept ? undefined : `${answer?.accepted ? "accepted" : "refused"}: ${answer?.words}`,
    );
  }
}
