import type { Handle } from "pkcs11js";

import { ecdsaDer } from "../pki/algorithm.ts";
import { asReturnError, attempt, HostFailure, ReturnError } from "./host-failure.ts";
import type { HostCall } from "./frame.ts";
import type { KeyHandle, KeyHandles } from "./key-handle.ts";
import { signatureLength, signingInput, signingMechanism } from "./mechanism.ts";
import type { OpenToken } from "./open-token.ts";
import { purposeProblem } from "./purpose.ts";

/** What signs: the token, the handles found so far, and the buffers of the calls that are out. */
export type Signer = {
  readonly token: OpenToken;
  readonly handles: KeyHandles;
  /** Input and output of every asynchronous call, until it has settled: the binding keeps raw pointers and nothing else. */
  readonly pinned: Set<readonly [input: Buffer, output: Buffer]>;
};

/**
 * The signature over the whole `bytes`, as it stands in a certificate (ECDSA: DER; RSA: octets). Not yet verified.
 * Refuses bytes that are not what the purpose says, a key whose label does not name the purpose, and an algorithm that is not the key's.
 * @throws HostFailure, ReturnError
 */
export async function sign(signer: Signer, request: Extract<HostCall, { act: "sign" }>): Promise<Uint8Array<ArrayBuffer>> {
  const problem = purposeProblem(request.purpose, request.bytes);
  if (problem !== undefined) throw new HostFailure("refused", problem);
  return signInput(signer, request, signingInput(request.key.algorithm, request.bytes));
}

/** A key and what it is to sign for. */
type Use = Pick<Extract<HostCall, { act: "sign" | "signParts" }>, "key" | "purpose">;

/**
 * The signature over bytes whose digest `prepared` holds as the token takes it, when they are what the purpose says: whoever hashed them has checked that.
 * @throws HostFailure, ReturnError
 */
export async function signInput(signer: Signer, request: Use, prepared: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const input = Buffer.from(prepared);
  try {
    return await signOnce(signer, request, input);
  } catch (error) {
    if (!(error instanceof ReturnError) || error.class !== "session") throw error;
    recover(signer, request.key.ckaId, error);
    return await signOnce(signer, request, input);
  }
}

async function signOnce(signer: Signer, request: Use, input: Buffer): Promise<Uint8Array<ArrayBuffer>> {
  const { sessions, library } = signer.token;
  const session = await sessions.take();
  try {
    const key = signer.handles.find(session, request.key.ckaId);
    requireUse(key, request);
    attempt("C_SignInit", () => library.C_SignInit(session, { mechanism: signingMechanism(key.algorithm) }, key.handle));
    const signature = await signPinned(signer, session, [input, Buffer.alloc(signatureLength(key.algorithm))]);
    sessions.giveBack(session);
    return key.algorithm.startsWith("RSA-") ? signature : Uint8Array.from(ecdsaDer(signature));
  } catch (error) {
    if (error instanceof HostFailure) sessions.giveBack(session);
    else sessions.discard(session);
    throw error;
  }
}

function signPinned(
  { token, pinned }: Signer,
  session: Handle,
  buffers: readonly [input: Buffer, output: Buffer],
): Promise<Buffer<ArrayBuffer>> {
  pinned.add(buffers);
  return new Promise((resolve, reject) => {
    token.library.C_Sign(session, ...buffers, (error, signature) => {
      pinned.delete(buffers);
      if (!error) resolve(Buffer.from(signature));
      else
        try {
          reject(asReturnError("C_Sign", error));
        } catch (unexpected) {
          reject(unexpected);
        }
    });
  });
}

function requireUse(found: KeyHandle, { key, purpose }: Use): void {
  if (!found.purposes.has(purpose)) {
    throw new HostFailure("refused", `key ${key.ckaId} serves ${[...found.purposes].join(", ") || "no purpose"}, not ${purpose}`);
  }
  if (found.algorithm !== key.algorithm) throw new HostFailure("refused", `key ${key.ckaId} is ${found.algorithm}, not ${key.algorithm}`);
  if (found.spkiSha256 !== key.spkiSha256) throw new HostFailure("refused", `the public half of key ${key.ckaId} is not the recorded one`);
}

const needsLogin: ReadonlySet<number> = new Set([0x02, 0x82, 0x101]);

/** Before the one retry of class `session`: the handle is found anew, and the login renewed where its loss is one of the causes. */
function recover(signer: Signer, ckaId: string, error: ReturnError): void {
  signer.handles.drop(ckaId);
  if (needsLogin.has(error.code)) signer.token.login();
}
