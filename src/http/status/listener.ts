import type { IncomingMessage } from "node:http";
import type { StatusDoors } from "../doors.ts";
import { longBodyLimits } from "../long-body.ts";
import { type PlainAnswer, plainHandler, text } from "../plain.ts";
import type { Handler } from "../server.ts";
import { crls } from "./crl.ts";
import { issuerCertificates } from "./issuer-certificate.ts";
import { ocspResponders } from "./ocsp.ts";
import type { StatusResource } from "./resource.ts";

/** Longest request target that is looked at. @see RFC 9919 §6 for the 255 octets that OCSP clients keep to */
const maxTargetBytes = 1024;

/**
 * The status listener, plain HTTP: what the URLs in certificates lead to (RFC 5280 §4.2.1.13, §4.2.2.1). Paths are compared as they came,
 * undecoded, with what is in memory: no file path ever comes of one (S-30).
 */
export function statusListener(doors: StatusDoors): Handler {
  const resources: readonly StatusResource[] = [ocspResponders(doors), crls(doors), issuerCertificates(doors)];
  const respond = (incoming: IncomingMessage): PlainAnswer | Promise<PlainAnswer> => {
    const path = incoming.url ?? "";
    if (path.length > maxTargetBytes) return text(414, `The request target has more than ${maxTargetBytes} octets.`);
    for (const resource of resources) {
      const answer = resource(incoming, path);
      if (answer) return answer;
    }
    return text(404, "Nothing stands under this path.");
  };
  return plainHandler(respond, longBodyLimits, "GET, HEAD, POST, OPTIONS");
}
