import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Principal } from "../../access/principal.ts";
import { Fault } from "../../fault.ts";

/** The caller's own name for a request. @throws Fault `malformed` unless it is absent or 1 to 255 visible ASCII characters. */
export function idempotencyKey(headers: IncomingMessage["headers"]): string | undefined {
  const header = headers["idempotency-key"];
  if (header === undefined) return undefined;
  if (typeof header === "string" && /^[\x21-\x7e]{1,255}$/.test(header)) return header;
  throw new Fault("malformed", "Idempotency-Key must be 1 to 255 visible ASCII characters");
}

/** What was asked under which name, 32 octets each: nobody can occupy or read back a name of another principal, or of another act. */
export type NamedRequest = { readonly requestId: Uint8Array; readonly requestHash: Uint8Array };

/** The request `asked` of `operation` under the caller's own name; undefined when it has none. `asked` in a canonical form. */
export function namedRequest(
  { principal, headers }: { readonly principal: Principal; readonly headers: IncomingMessage["headers"] },
  operation: string,
  asked: unknown,
): NamedRequest | undefined {
  const key = idempotencyKey(headers);
  if (key === undefined) return undefined;
  return {
    requestId: hash("sha256", JSON.stringify([operation, principal.namespace, principal.id, key]), "buffer"),
    requestHash: hash("sha256", JSON.stringify(asked), "buffer"),
  };
}
