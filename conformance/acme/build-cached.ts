import { buildAcme4j, buildCaddy, buildInstantAcme } from "./cached.ts";

// Builds the clients that take minutes, into the cache outside the checkout; later runs find them there.
await buildCaddy();
await buildInstantAcme();
await buildAcme4j();
