import type { Service } from "../../src/app.ts";
import { answerOcsp } from "../../src/ca/ocsp-answer.ts";
import { plainHandler, text } from "../../src/http/plain.ts";
import { listen, type Limits, type Listener, serviceLimits } from "../../src/http/server.ts";
import { type OcspDoors, ocspResponders } from "../../src/http/status/ocsp.ts";

/** What the responders of a service are asked by. */
export function ocspDoors({ ca, ocsp }: Pick<Service, "ca" | "ocsp">): OcspDoors {
  return {
    authorities: () => [...ca.authorities.values()],
    clock: ca.clock,
    events: ca.events,
    ocsp: (slug, request, client) => answerOcsp(ocsp, { slug, request, client }),
  };
}

/** A listener of its own for these responders. */
export function listenForOcsp(doors: OcspDoors, limits: Limits = serviceLimits): Promise<Listener> {
  const responders = ocspResponders(doors);
  const handler = plainHandler((incoming) => responders(incoming, incoming.url ?? "") ?? text(404, "Nothing stands under this path."));
  return listen({ host: "127.0.0.1", port: 0, option: "CHANCERY_STATUS_LISTEN" }, handler, { limits });
}
