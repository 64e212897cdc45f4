import type { IncomingMessage } from "node:http";
import { z } from "zod";
import type { Action, Principal } from "../../access/principal.ts";
import { Fault } from "../../fault.ts";
import type { RestDoors } from "../doors.ts";
import type { Json } from "../../jose/json.ts";
import { judgement, type Place, quoted, sentence } from "./sentence.ts";

/** A media type in which an answer can be had. */
export type MediaType = "application/json" | "application/pem-certificate-chain" | "application/pkix-cert" | "text/plain; charset=utf-8";

/** What a handler answers: a value that becomes JSON, or bytes of a media type; `empty` is 204. */
export type Answer = { readonly status?: 200 | 201 | 202; readonly headers?: Readonly<Record<string, string>> } & (
  { readonly json: unknown } | { readonly bytes: Uint8Array | string; readonly type: MediaType } | { readonly empty: true }
);

/** One request, judged and parsed. */
export type Call<Query, Body> = {
  readonly principal: Principal;
  /** Named parts of the path, percent-decoded. */
  readonly parts: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  /** The media type chosen from `produces`. */
  readonly accepted: MediaType;
  readonly headers: IncomingMessage["headers"];
  /** Stands in X-Request-Id, in the log and in audit records. */
  readonly requestId: string;
};

/** What stands in the route table: everything about a route that a reader, and a test, wants to see at once. */
type Definition<Query, Body> = {
  readonly method: "GET" | "POST" | "DELETE";
  /** Path with `:name` for a part. */
  readonly path: string;
  /** The rule: what the caller must be allowed to do. */
  readonly action: Action;
  /** Media types that can be asked for, the default first; JSON alone, whatever is accepted, when absent. */
  readonly produces?: readonly MediaType[];
  /** Query parameters; none when absent. */
  readonly query?: z.ZodType<Query>;
  /** JSON body; none when absent. */
  readonly body?: z.ZodType<Body>;
  readonly handle: (doors: RestDoors, call: Call<Query, Body>) => Promise<Answer> | Answer;
};

/** A public page: no caller, no input but its path. */
type PublicDefinition = {
  readonly method: "GET";
  readonly path: string;
  readonly action: "public";
  readonly handle: (parts: Readonly<Record<string, string>>) => Promise<Answer> | Answer;
};

/** What the door parses and hands to a route. `body` is undefined when the route takes none. */
export type Input = {
  readonly principal: Principal;
  readonly parts: Readonly<Record<string, string>>;
  readonly search: URLSearchParams;
  readonly body: Json | undefined;
  readonly accepted: MediaType;
  readonly headers: IncomingMessage["headers"];
  /** Stands in X-Request-Id, in the log and in audit records. */
  readonly requestId: string;
};

/** A row of the table, its schemas hidden behind `answer`. */
export type Route =
  | (Pick<Definition<never, never>, "method" | "path" | "action"> & {
      readonly produces: readonly MediaType[];
      readonly takesBody: boolean;
      /** Checks query and body, then handles. @throws Fault `malformed` for anything unknown, missing or twice. */
      readonly answer: (doors: RestDoors, input: Input) => Promise<Answer> | Answer;
    })
  | PublicDefinition;

/** A row for a definition: the only way into the table, so that no route is without a rule and schemas. */
export function route<Query = Empty, Body = undefined>(definition: Definition<Query, Body>): Route {
  const { method, path, action, handle } = definition;
  const query: z.ZodType<unknown> = definition.query ?? noParameters;
  const body: z.ZodType<unknown> = definition.body ?? z.undefined();
  return {
    method,
    path,
    action,
    produces: definition.produces ?? [],
    takesBody: definition.body !== undefined,
    answer: (doors, { search, body: json, ...input }) => {
      // The two casts are what `parse` has just proved: it returned the output of the very schema that the definition types.
      const parsed = { query: parse("parameter", query, members(search)) as Query, body: parse("body", body, json) as Body };
      return handle(doors, { ...input, ...parsed });
    },
  };
}

type Empty = Record<never, never>;
const noParameters = z.strictObject({});

/** Parameters as an object; one that occurs twice is refused, since which of the two counts differs from server to server. */
function members(search: URLSearchParams): Readonly<Record<string, string>> {
  const object: Record<string, string> = Object.create(null);
  for (const [name, value] of search) {
    if (name in object) throw new Fault("malformed", `the parameter ${quoted(name)} occurs twice`);
    object[name] = value;
  }
  return object;
}

function parse<Value>(place: Place, schema: z.ZodType<Value>, value: unknown): Value {
  const parsed = schema.safeParse(value, { error: judgement });
  if (parsed.success) return parsed.data;
  const sentences = new Set(parsed.error.issues.map((issue) => sentence(place, issue)));
  throw new Fault("malformed", [...sentences].slice(0, 3).join("; "));
}
