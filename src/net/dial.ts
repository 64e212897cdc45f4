import { connect } from "node:net";
import type { Socket } from "node:net";

import { Fault } from "../fault.ts";

/** Opens a TCP connection to an address that was judged, or says why there is none. @throws Fault `validatorUnavailable` when this machine has no room for one. */
export type Dial = (to: { readonly address: string; readonly port: number }, signal: AbortSignal) => Promise<Socket | DialFailure>;

export type DialFailure = "the connection was refused" | "no answer to the connection" | "there is no route" | "the connection failed";

/** A dial that waits `connectMs` for an answer. */
export function dialer(connectMs: number): Dial {
  return ({ address, port }, signal) =>
    new Promise((resolve, reject) => {
      // An address in its plain form: nothing is looked up, and no other one is tried.
      const socket = connect({ host: address, port, autoSelectFamily: false, noDelay: true });
      const end = (result: Socket | DialFailure) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", late);
        socket.removeAllListeners().on("error", () => {});
        if (typeof result === "string") socket.destroy();
        resolve(result);
      };
      const late = () => end("no answer to the connection");
      const timer = setTimeout(late, connectMs);
      socket.once("connect", () => end(socket));
      socket.once("error", (error: NodeJS.ErrnoException) => {
        if (ownTrouble.has(error.code ?? ""))
          reject(new Fault("validatorUnavailable", "the validator has no room for another connection", { cause: error }));
        end(failures[error.code ?? ""] ?? "the connection failed");
      });
      if (signal.aborted) return late();
      signal.addEventListener("abort", late, { once: true });
    });
}

const ownTrouble: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]);

const failures: Readonly<Record<string, DialFailure>> = {
  ECONNREFUSED: "the connection was refused",
  ETIMEDOUT: "no answer to the connection",
  ENETUNREACH: "there is no route",
  EHOSTUNREACH: "there is no route",
  EADDRNOTAVAIL: "there is no route",
};
