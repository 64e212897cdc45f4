import { ClientError, type Problem } from "./client-error.ts";

/** One JSON object of an answer, its members not yet looked at. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What came back, whole. */
export type Answer = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: Buffer };

/**
 * The JSON object that `answer` carries.
 * @throws ClientError `failed` when the body is anything else.
 */
export function objectOf(answer: Answer): JsonObject {
  const object = jsonObject(answer);
  if (!object) throw foreign(`the answer (status ${answer.status}) is not a JSON object`);
  return object;
}

/**
 * A text member.
 * @throws ClientError `failed` when it is absent or of another type.
 */
export function text(object: JsonObject, member: string): string {
  const value = object[member];
  if (typeof value !== "string") throw foreign(`the answer has no text member "${member}"`);
  return value;
}

/** A text member, or undefined when it is absent or null. */
export function optionalText(object: JsonObject, member: string): string | undefined {
  return object[member] === undefined || object[member] === null ? undefined : text(object, member);
}

/**
 * A number member.
 * @throws ClientError `failed` when it is absent or of another type.
 */
export function number(object: JsonObject, member: string): number {
  const value = object[member];
  if (typeof value !== "number") throw foreign(`the answer has no number member "${member}"`);
  return value;
}

/** A member that is a JSON object, or undefined when it is absent or null. @throws ClientError `failed` when it is anything else. */
export function optionalObject(object: JsonObject, member: string): JsonObject | undefined {
  const value = object[member] ?? undefined;
  if (value !== undefined && !isObject(value)) throw foreign(`the member "${member}" of the answer is no JSON object`);
  return value;
}

/**
 * A member that is an array of JSON objects.
 * @throws ClientError `failed` when it is not.
 */
export function objects(object: JsonObject, member: string): readonly JsonObject[] {
  const value = object[member];
  if (!Array.isArray(value) || !value.every(isObject)) throw foreign(`the answer has no member "${member}" that lists objects`);
  return value;
}

/** The error that a 4xx or 5xx answer stands for, with its problem document where it has one (RFC 9457 §3). */
export function refusal(answer: Answer, url: string): ClientError {
  const problem = problemOf(answer);
  const reason = answer.status === 503 ? "unavailable" : answer.status >= 400 && answer.status < 500 ? "refused" : "failed";
  const detail = problem?.detail ?? `${url} answered with status ${answer.status} and no problem document: it may not be Chancery`;
  return new ClientError(reason, detail, { outcomeKnown: reason === "refused", ...(problem && { problem }) });
}

function problemOf(answer: Answer): Problem | undefined {
  const object = (answer.headers["content-type"] ?? "").startsWith("application/problem+json") ? jsonObject(answer) : undefined;
  if (!object) return undefined;
  const { type, title, status, detail, code, requestId, ...members } = object;
  return {
    type: word(type, "about:blank"),
    title: word(title, ""),
    status: typeof status === "number" ? status : answer.status,
    detail: word(detail, word(title, `status ${answer.status}`)),
    code: word(code, ""),
    requestId: word(requestId, ""),
    members,
  };
}

function word(value: unknown, otherwise: string): string {
  return typeof value === "string" ? value : otherwise;
}

function jsonObject(answer: Answer): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(answer.body.toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function foreign(detail: string): ClientError {
  return new ClientError("failed", `${detail}: the service may be of another version, or CHANCERY_BASE_URL names another server`, {
    outcomeKnown: false,
  });
}
