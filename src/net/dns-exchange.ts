import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";

import type { DnsServer } from "./dns-server.ts";

/** What is sent, to whom, and how the right reply is told from others. */
export type DnsExchange<Reading> = {
  readonly server: DnsServer;
  readonly query: Uint8Array;
  /** The reading of a message; undefined when it is not the reply to this query. */
  readonly accept: (message: Uint8Array) => Reading | undefined;
  /** Ends the wait. */
  readonly signal: AbortSignal;
};

/**
 * The first datagram that is accepted; undefined when none came or the server's port is closed. Each query has a socket, and so a port, of
 * its own, and only the server's address reaches it (RFC 5452 §9.2).
 */
export function exchangeUdp<Reading>({ server, query, accept, signal }: DnsExchange<Reading>): Promise<Reading | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server.address) ? "udp6" : "udp4");
    const end = (reading?: Reading) => {
      signal.removeEventListener("abort", stop);
      socket.removeAllListeners().on("error", () => {});
      socket.close();
      resolve(reading);
    };
    const stop = () => end();
    socket.on("error", stop);
    socket.on("message", (message) => {
      const reading = message.length <= maxDatagramOctets ? accept(message) : undefined;
      if (reading !== undefined) end(reading);
    });
    socket.on("connect", () => socket.send(query));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    socket.connect(server.port, server.address);
  });
}

/** The reply over TCP; undefined when none came whole, or another one. @see RFC 7766 §8 */
export function exchangeTcp<Reading>({ server, query, accept, signal }: DnsExchange<Reading>): Promise<Reading | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: server.address, port: server.port, noDelay: true });
    let received = Buffer.alloc(0);
    const end = (reading?: Reading) => {
      signal.removeEventListener("abort", stop);
      socket.removeAllListeners().on("error", () => {});
      socket.destroy();
      resolve(reading);
    };
    const stop = () => end();
    socket.on("error", stop).on("close", stop);
    socket.on("connect", () => socket.write(Buffer.concat([Uint8Array.of(query.length >> 8, query.length & 0xff), query])));
    socket.on("data", (chunk: Buffer) => {
      // At most a length and 65,535 octets are ever held, and what one read brings.
      received = Buffer.concat([received, chunk]);
      const length = received.length < 2 ? undefined : received.readUInt16BE(0);
      if (length !== undefined && received.length >= length + 2) end(accept(received.subarray(2, length + 2)));
    });
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** More than any server sends to a query without EDNS (RFC 1035 §2.3.4), as some do not cut. */
const maxDatagramOctets = 4096;
