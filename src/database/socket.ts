import { connect as connectTcp, Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { DatabaseAddress } from "./address.ts";

/**
 * A socket to the server, connecting or connected; with TLS where the address asks for it. Never rejects: postgres.js forgets a connection
 * whose socket factory throws, so a failure is a socket that tells its error once its listeners are there.
 */
export async function dial(address: DatabaseAddress): Promise<Socket> {
  const socket = address.host.startsWith("/")
    ? connectTcp({ path: `${address.host}/.s.PGSQL.${address.port}` })
    : connectTcp({ host: address.host, port: address.port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMilliseconds });
  if (address.sslmode === "disable") return socket;
  try {
    await acceptsTls(socket);
    return await secured(socket, address);
  } catch (error) {
    socket.destroy();
    return failed(error);
  }
}

/** A socket that fails with `error` as soon as it is listened to. */
export function failed(error: unknown): Socket {
  const socket = new Socket();
  setImmediate(() => socket.destroy(error instanceof Error ? error : new Error(String(error))));
  return socket;
}

const keepAliveMilliseconds = 10_000;

/** @see PostgreSQL 18, 54.2.10 SSL Session Encryption */
const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

async function acceptsTls(socket: Socket): Promise<void> {
  const answer = Promise.withResolvers<Buffer>();
  socket.once("data", answer.resolve);
  socket.once("error", answer.reject);
  socket.once("close", () => answer.reject(new Error("the server closed the connection")));
  socket.write(sslRequest);
  const bytes = await answer.promise;
  socket.removeAllListeners();
  // More than the one byte would be plaintext that an attacker put before the handshake (CVE-2021-23222).
  if (bytes.length !== 1 || bytes[0] !== "S".charCodeAt(0)) throw new Error("the server does not offer TLS");
}

async function secured(socket: Socket, { host, sslmode }: DatabaseAddress): Promise<Socket> {
  const secure = connectTls({ socket, host, rejectUnauthorized: sslmode === "verify-full", ALPNProtocols: ["postgresql"] });
  const ready = Promise.withResolvers<void>();
  secure.once("secureConnect", ready.resolve);
  secure.once("error", ready.reject);
  await ready.promise;
  secure.removeAllListeners("error");
  return secure;
}
