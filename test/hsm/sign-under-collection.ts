/**
 * Signs many texts at once with a slow module while the garbage collector runs in a loop, and counts the signatures that do not verify.
 * Argument: JSON with module, token, ckaId, spki (base64), sessions, count, and `caller`: "host" signs as our host does, "unpinned" as a
 * caller of the binding does that trusts it to keep the input. PIN in the environment variable PIN. Run with --expose-gc. Prints JSON.
 */
import { createHash, createPublicKey, verify } from "node:crypto";

import { KeyHandles } from "../../src/hsm/key-handle.ts";
import { openToken } from "../../src/hsm/open-token.ts";
import { sign } from "../../src/hsm/sign.ts";
import type { Signer } from "../../src/hsm/sign.ts";
import type { KeyReference } from "../../src/ports/hsm.ts";

const { module, token: label, ckaId, spki, sessions, count, caller } = JSON.parse(process.argv[2] ?? "{}");
const reference: KeyReference = {
  token: label,
  ckaId,
  algorithm: "P-256",
  spkiSha256: createHash("sha256").update(Buffer.from(spki, "base64")).digest("hex"),
};
const publicKey = createPublicKey({ key: Buffer.from(spki, "base64"), format: "der", type: "spki" });
const token = await openToken({ module, token: label, pin: process.env["PIN"] ?? "", sessions }, () => {});
const signer: Signer = { token, handles: new KeyHandles(token), pinned: new Set() };

/** The callback form as the binding's own examples use it: nothing but the call holds the input. */
async function signUnpinned(text: string): Promise<Uint8Array> {
  const session = await token.sessions.take();
  const key = signer.handles.find(session, ckaId);
  token.library.C_SignInit(session, { mechanism: 0x1041 }, key.handle);
  return new Promise((resolve, reject) => {
    token.library.C_Sign(session, createHash("sha256").update(text).digest(), Buffer.alloc(64), (error, signature) => {
      token.sessions.giveBack(session);
      if (error) reject(error);
      else resolve(signature);
    });
  });
}

function signAsHost(text: string): Promise<Uint8Array> {
  return sign(signer, { act: "sign", key: reference, purpose: "binding", bytes: Buffer.from(text) });
}

if (!globalThis.gc) throw new Error("run with --expose-gc");
const collecting = setInterval(() => {
  globalThis.gc?.();
  // What was freed is used again, as it is in a process with other work.
  for (let index = 0; index < 500; index += 1) Buffer.alloc(32, 0xee);
}, 1);
let wrong = 0;
let left = count;
const dsaEncoding = caller === "host" ? "der" : "ieee-p1363";
await Promise.all(
  Array.from({ length: sessions }, async () => {
    while (left > 0) {
      left -= 1;
      const text = `chancery binding\n${left}\n`;
      const signature = await (caller === "host" ? signAsHost(text) : signUnpinned(text));
      if (!verify("sha256", Buffer.from(text), { key: publicKey, dsaEncoding }, signature)) wrong += 1;
    }
  }),
);
clearInterval(collecting);
process.stdout.write(JSON.stringify({ count, wrong, pinned: signer.pinned.size }));
