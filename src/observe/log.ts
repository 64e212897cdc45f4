import { destination as standardError, pino } from "pino";
import type { Clock } from "../ports/clock.ts";

/** How much is written: a line below this level is dropped. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** The log: one JSON object a line. */
export type Log = {
  /** Writes one line. Whatever `fields` hold, the line is one line, and secrets in it are struck out. Never throws. */
  readonly write: (level: LogLevel, event: string, fields: Readonly<Record<string, unknown>>) => void;
};

/** Where lines go. */
export type LogOptions = {
  readonly level: LogLevel;
  readonly clock: Clock;
  /** Takes whole lines, line feed included; standard error unless told. */
  readonly sink?: (line: string) => void;
};

/**
 * A log of JSON lines: `time`, `level`, `event`, then the fields. Characters that a terminal or another program could take for more
 * than text stand as JSON escapes, so that nobody outside can forge a line, colour a screen, or hide a part of what they sent.
 */
export function openLog({ level, clock, sink = standardErrorSink() }: LogOptions): Log {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${clock.now().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => sink(escaped(line)) },
  );
  return {
    write: (at, event, fields) => {
      if (logger.isLevelEnabled(at)) logger[at]({ event, ...safeFields(fields) });
    },
  };
}

function standardErrorSink(): (line: string) => void {
  const stream = standardError({ fd: 2, sync: true });
  return (line) => void stream.write(line);
}

/**
 * DEL and C1 controls (CSI is U+009B), line and paragraph separators, marks that change the direction of text, byte order mark. JSON itself
 * escapes what lies below U+0020. Outside strings a JSON line is ASCII, so that every match is inside one.
 */
const unsafe = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function escaped(line: string): string {
  return line.replace(unsafe, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Members whose value is never written, in any spelling and at any depth. */
const secretNames = /^(?:authorization|proxy-?authorization|cookie|set-?cookie|.*pin|.*secret|.*password|private-?key|csr)$/i;

/** What is a secret wherever it stands: our tokens, bearer credentials, private keys, passwords in URLs. */
const secretTexts: readonly (readonly [RegExp, string])[] = [
  [/chancery_[0-9A-Za-z]{16,}(?:_[0-9A-Za-z]*)?/g, "[redacted]"],
  [/\bBearer\s+[^\s"]+/gi, "Bearer [redacted]"],
  [/-----BEGIN [A-Z ]*(?:PRIVATE KEY|CERTIFICATE REQUEST)-----[^-]*(?:-----END [A-Z ]*-----)?/g, "[redacted]"],
  [/\b([a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@]{0,64}):[^\s/@]{1,256}@/gi, "$1:[redacted]@"],
];

const maxTextLength = 4_096;
const maxDepth = 6;
const maxItems = 64;

/** Names that pino writes itself: a field may not stand beside them under the same name. */
const reserved: ReadonlySet<string> = new Set(["level", "time", "event"]);

function safeFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [reserved.has(name) ? `${name}_` : name, safeMember(name, value, 0)]),
  );
}

function safeMember(name: string, value: unknown, depth: number): unknown {
  return secretNames.test(name) && value !== undefined ? "[redacted]" : safe(value, depth + 1);
}

/** `value` as plain data of bounded size: pino is given nothing with a toJSON, a getter or a cycle. */
function safe(value: unknown, depth: number): unknown {
  if (depth > maxDepth) return "[deep]";
  switch (typeof value) {
    case "string":
      return safeText(value);
    case "bigint":
      return value.toString();
    case "function":
    case "symbol":
      return `[${typeof value}]`;
    case "object":
      return safeObject(value, depth);
    default:
      return value;
  }
}

function safeObject(value: object | null, depth: number): unknown {
  if (value === null) return null;
  if (value instanceof Error) return safeError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString();
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  const items = value instanceof Set ? [...value] : value;
  if (Array.isArray(items)) return items.slice(0, maxItems).map((item: unknown) => safe(item, depth + 1));
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return Object.fromEntries(entries.slice(0, maxItems).map(([name, member]) => [String(name), safeMember(String(name), member, depth)]));
}

/** Name, message, code, stack and cause, and nothing else: drivers hang queries and parameters onto their errors. */
function safeError(error: Error, depth: number): Record<string, unknown> {
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  const cause = error.cause === undefined ? {} : { cause: safe(error.cause, depth + 1) };
  const [message, stack] = [withoutParameters(error.message), withoutParameters(error.stack ?? "")];
  return { name: error.name, message: safeText(message), ...code, stack: safeText(stack), ...cause };
}

/** drizzle writes what was bound to a statement behind its text, the hash of a token's secret among it: that, and the stack behind it, is cut off. */
function withoutParameters(text: string): string {
  const start = text.indexOf("\nparams:");
  return start < 0 ? text : `${text.slice(0, start)}\n[parameters cut]`;
}

function safeText(text: string): string {
  const short = text.length > maxTextLength ? `${text.slice(0, maxTextLength)}…` : text;
  return secretTexts.reduce((rest, [secret, instead]) => rest.replace(secret, instead), short);
}
