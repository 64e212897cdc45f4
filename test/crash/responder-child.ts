import { build } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import { movedClock } from "../support/clock.ts";
import { failpoints } from "../support/failpoints.ts";

/** A start, so many seconds ahead of the clock, that ends by SIGKILL at a point: the first certificate on its way is the responder's. */
const [point, aheadSeconds] = process.argv.slice(2);
await using _ = await build(loadConfig({ env: process.env, directory: process.cwd() }), {
  ...failpoints((reached) => {
    if (reached === point) process.kill(process.pid, "SIGKILL");
  }),
  clock: movedClock(Number(aheadSeconds)),
});
