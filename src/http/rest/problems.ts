import { Fault } from "../../fault.ts";
import { isProblemCode, problemExplanation } from "./problem.ts";
import type { Route } from "./route.ts";

/** GET /problems/{code}: what the `type` of a problem document leads to (RFC 9457 §3.1.1). Anyone may read it. */
export const problemRoute: Route = {
  method: "GET",
  path: "/problems/:code",
  action: "public",
  handle: ({ code = "" }) => {
    if (!isProblemCode(code)) throw new Fault("notFound", "there is no problem of this code");
    return { type: "text/plain; charset=utf-8", bytes: problemExplanation(code) };
  },
};
