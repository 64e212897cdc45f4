import type { Account } from "../../acme/account.ts";
import type { Directory } from "../../acme/directory.ts";
import type { JsonObject } from "../../jose/json.ts";
import type { AccountKey } from "../../jose/jwk.ts";
import type { AcmeDoors } from "../doors.ts";
import type { Urls } from "./urls.ts";

/** What every request says, whoever makes it. */
export type Visit = {
  readonly directory: Directory;
  readonly urls: Urls;
  /** The part of the path that names one object; "" where there is none. */
  readonly id: string;
  /** The parameter `after` of a list; no other resource has one. */
  readonly after: string | undefined;
  /** The Accept header. */
  readonly accept: string | undefined;
  /** Canonical IP address of the client. */
  readonly address: string;
  /** Stands in X-Request-Id, in the log and in audit records. */
  readonly requestId: string;
};

/** Who signed a request: a valid account of the directory, or a key that the request brought, with the account that has it. */
export type Signer = { readonly account: Account } | { readonly key: AccountKey; readonly standing: Account | undefined };

/** A POST, its signature verified. `payload` is undefined for POST-as-GET (RFC 8555 §6.3). */
export type Signed = { readonly signer: Signer; readonly payload: JsonObject | undefined };

/** What a handler answers: a value that becomes JSON, or bytes of a media type, or nothing. */
export type Answer = {
  readonly status?: 200 | 201 | 204;
  readonly location?: string;
  /** Values of Link headers, beside the one to the directory. */
  readonly links?: readonly string[];
  readonly retryAfterSeconds?: number;
} & (
  | { readonly json: unknown }
  | { readonly bytes: Uint8Array | string; readonly type: "application/pem-certificate-chain" | "application/pkix-cert" }
  | { readonly empty: true }
);

/** How a resource is posted to. */
export type Post = {
  readonly signer: "account" | "key" | "either";
  /** A JSON object, nothing (POST-as-GET alone), or either. */
  readonly payload: "object" | "empty" | "either";
  readonly handle: (doors: AcmeDoors, visit: Visit, signed: Signed) => Promise<Answer> | Answer;
};

/** A row of the table: one resource, and all that can be done with it. */
export type Route = {
  /** Below `/acme/{directory}`, with `:id` for the part that names one object. */
  readonly path: string;
  /** What is refused first when there is too much to do: the start of something new, before what goes on, before what ends it. */
  readonly sheds: "first" | "second" | "last";
  /** Without an account. */
  readonly get?: (doors: AcmeDoors, visit: Visit) => Promise<Answer> | Answer;
  readonly post?: Post;
};

/** What a handler of an account's request gets. */
export type AccountCall<Payload> = Visit & { readonly account: Account; readonly payload: Payload };

/** POST-as-GET by an account: to read, and nothing else. */
export function postAsGet(handle: (doors: AcmeDoors, call: AccountCall<undefined>) => Promise<Answer> | Answer): Post {
  return {
    signer: "account",
    payload: "empty",
    handle: (doors, visit, signed) => handle(doors, { ...visit, account: accountOf(signed), payload: undefined }),
  };
}

/** POST of a JSON object by an account. */
export function post(handle: (doors: AcmeDoors, call: AccountCall<JsonObject>) => Promise<Answer> | Answer): Post {
  return {
    signer: "account",
    payload: "object",
    handle: (doors, visit, signed) => handle(doors, { ...visit, account: accountOf(signed), payload: objectOf(signed) }),
  };
}

/** POST of a JSON object, or POST-as-GET, by an account. */
export function postOrRead(handle: (doors: AcmeDoors, call: AccountCall<JsonObject | undefined>) => Promise<Answer> | Answer): Post {
  return {
    signer: "account",
    payload: "either",
    handle: (doors, visit, signed) => handle(doors, { ...visit, account: accountOf(signed), payload: signed.payload }),
  };
}

/** The account that signed; only a row that asks for one may call it. */
function accountOf({ signer }: Signed): Account {
  if (!("account" in signer)) throw new Error("a request without an account reached a handler that needs one");
  return signer.account;
}

/** The payload; only a row that asks for an object may call it. */
export function objectOf({ payload }: Signed): JsonObject {
  if (!payload) throw new Error("a request without a payload reached a handler that needs one");
  return payload;
}
