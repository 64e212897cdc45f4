import { route } from "./route.ts";

/** GET /v1/profiles: what can be asked for, in the words of the profile itself. */
export const profilesRoute = route({
  method: "GET",
  path: "/v1/profiles",
  action: "profile:read",
  handle: (doors) => ({ json: { profiles: doors.profiles() } }),
});
