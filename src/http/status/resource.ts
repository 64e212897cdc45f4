import type { IncomingMessage } from "node:http";
import type { PlainAnswer } from "../plain.ts";

/**
 * What stands under some paths of the status listener; undefined, at once, for a path that is none of its own. `path` is the request's target,
 * undecoded. What can come from memory does, so that relying parties are answered while database and HSM are away (O-4).
 */
export type StatusResource = (incoming: IncomingMessage, path: string) => PlainAnswer | Promise<PlainAnswer> | undefined;
