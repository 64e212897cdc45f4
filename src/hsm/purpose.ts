import { signedKind } from "../pki/signed-kind.ts";
import { bindingHead, healthHead } from "../pki/signed-text.ts";
import type { Purpose } from "../ports/hsm.ts";

/**
 * Why `bytes` are not what `purpose` says, in a sentence; undefined when they are.
 * The host asks this before each signature, so that a bug in front of it, or a frame slipped into its channel, gets nothing signed that
 * the purpose does not cover. It is no wall between users: whoever can read the PIN file can load the module without this host.
 */
export function purposeProblem(purpose: Purpose, bytes: Uint8Array): string | undefined {
  if (purpose === "data") return undefined;
  const found = kindOf(bytes);
  return found === purpose
    ? undefined
    : `the bytes are ${found === undefined ? "nothing we sign" : `for purpose ${found}`}, not for purpose ${purpose}`;
}

function kindOf(bytes: Uint8Array): Purpose | undefined {
  const kind = signedKind(bytes);
  if (kind !== "text") return kind;
  if (startsWith(bytes, bindingHead)) return "binding";
  return startsWith(bytes, healthHead) ? "health" : "checkpoint";
}

function startsWith(bytes: Uint8Array, head: string): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, head.length)).toString("latin1") === head;
}
