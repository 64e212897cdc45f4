import type { Socket } from "node:net";
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";

import { transient } from "./attempt.ts";
import type { Attempt } from "./attempt.ts";

export type Handshake = {
  readonly socket: Socket;
  /** For sentences: where the socket leads. */
  readonly address: string;
  /** SNI; absent for none. Never an IP address (RFC 6066 §3). */
  readonly servername: string | undefined;
  /** ALPN, in order. */
  readonly protocols: readonly string[];
};

/** TLS 1.2 or newer over an open connection. The certificate is not judged here: who it must name is not a matter of any public root. */
export function handshake({ socket, address, servername, protocols }: Handshake, signal: AbortSignal): Promise<Attempt<TLSSocket>> {
  return new Promise((resolve) => {
    const tls = connect({
      socket,
      ALPNProtocols: [...protocols],
      minVersion: "TLSv1.2",
      rejectUnauthorized: false,
      ...(servername === undefined ? {} : { servername }),
    });
    const end = (result: Attempt<TLSSocket>) => {
      signal.removeEventListener("abort", late);
      tls.removeAllListeners("error").on("error", () => {});
      if ("failure" in result) tls.destroy();
      resolve(result);
    };
    const fail = (reason: string) => end(transient("tls", `no TLS handshake with ${address}: ${reason}`));
    const late = () => fail("it was not complete in time");
    tls.once("secureConnect", () => end({ answer: tls }));
    tls.once("error", (error: NodeJS.ErrnoException) => fail(reasons[error.code ?? ""] ?? "it failed"));
    tls.once("close", () => fail("the connection was closed"));
    if (signal.aborted) return late();
    signal.addEventListener("abort", late, { once: true });
  });
}

const reasons: Readonly<Record<string, string>> = {
  ECONNRESET: "the connection was closed",
  EPIPE: "the connection was closed",
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
    "the other side does not speak the protocol that was offered (alert no_application_protocol)",
  ERR_SSL_TLSV1_UNRECOGNIZED_NAME: "the other side does not know the name (alert unrecognized_name)",
  "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE": "the other side refused it (alert handshake_failure)",
  ERR_SSL_UNSUPPORTED_PROTOCOL: "the other side speaks no TLS 1.2 or newer",
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: "the other side speaks no TLS 1.2 or newer",
  ERR_SSL_WRONG_VERSION_NUMBER: "the other side speaks no TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "the other side speaks no TLS",
};
