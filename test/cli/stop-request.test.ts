import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const stopRequest = fileURLToPath(new URL("../../src/cli/stop-request.ts", import.meta.url));
const waits = `const { stopRequest } = await import(${JSON.stringify(stopRequest)}); setInterval(() => {}, 1000);
stopRequest().then(() => process.stdout.write("asked\\n")); process.stdout.write("waits\\n");`;

test.for(["SIGTERM", "SIGINT", "SIGHUP"] as const)("a %s asks to stop; one that comes later ends the process at once", async (signal) => {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", waits], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const lines = child.stdout.setEncoding("utf8")[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("waits\n");
  child.kill(signal);
  expect((await lines.next()).value).toBe("asked\n");
  const impatience = setInterval(() => child.kill(signal), 100);
  expect(await ended).toEqual([null, signal]);
  clearInterval(impatience);
});
