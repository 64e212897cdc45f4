import { build } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import { failpoints } from "../support/failpoints.ts";

/** A service that ends by SIGKILL at the point that its argument names, at the nth time that a second one says; it tells its port to its parent. */
const [, , point, nth = "1"] = process.argv;
let left = Number(nth);
let armed = false;
const config = loadConfig({ env: process.env, directory: process.cwd() });
const service = await build(
  config,
  failpoints((reached) => {
    if (armed && reached === point && --left === 0) process.kill(process.pid, "SIGKILL");
  }),
);
armed = true;
process.send?.({ port: service.listeners.tls.port });
process.on("disconnect", () => void service[Symbol.asyncDispose]());
