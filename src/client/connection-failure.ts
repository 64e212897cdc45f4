import { ClientError } from "./client-error.ts";

/** What the sentence of a failed connection has to name. */
export type ConnectionAttempt = {
  readonly url: string;
  readonly caFile: string;
  /** Whether the handshake was done, so that the service may have read and carried out the request. */
  readonly mayHaveArrived: boolean;
};

/** The error of a call without an answer: which URL, which CA file, and what to do about it. */
export function connectionFailure(error: unknown, { url, caFile, mayHaveArrived }: ConnectionAttempt): ClientError {
  const code = codeOf(error);
  const detail = sentence(code, error, { url, caFile });
  return new ClientError("unavailable", detail, { outcomeKnown: !mayHaveArrived, cause: error });
}

function sentence(code: string, error: unknown, { url, caFile }: { url: string; caFile: string }): string {
  if (code === "ECONNREFUSED") return `nothing listens at ${url}: start the service (npm start), or set CHANCERY_BASE_URL to where it is`;
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return `the host name of ${url} is not known: correct CHANCERY_BASE_URL`;
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "ETIMEDOUT") {
    return `${url} cannot be reached (${code}): check the network, or correct CHANCERY_BASE_URL`;
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `the certificate of ${url} is for other names: set CHANCERY_BASE_URL to a name that stands in it`;
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return `the certificate of ${url} is not valid now (${code}): compare the clocks of both machines, then look at the service's log`;
  }
  if (untrusted.has(code)) {
    return `the certificate of ${url} does not lead to the root in ${caFile} (${code}): set CHANCERY_CA_FILE to the root.pem of that service`;
  }
  if (code === "EPROTO" || code.startsWith("ERR_SSL")) {
    return `${url} does not speak TLS as we do (${code}): set CHANCERY_BASE_URL to the service's TLS address`;
  }
  return `no answer from ${url} (${code || messageOf(error)}): look at the service's log, then try again`;
}

/** OpenSSL's names for a chain that does not end in a trusted root, as node:tls gives them. */
const untrusted = new Set([
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "INVALID_CA",
]);

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "no reason given";
}
