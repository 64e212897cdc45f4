import { join } from "node:path";
import { outputOf } from "../execute.ts";
import { cacheDirectory } from "../peers.ts";

/** Builds the clients that take minutes, into the cache outside the checkout; later runs find them there. */
async function main(): Promise<void> {
  const environment = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOBIN: join(cacheDirectory, "acme/bin") };
  await outputOf("go", ["install", "github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9"], { environment, limitSeconds: 1200 });
}

await main();
