import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { isRunning, makeCheckout, plainEnvironment, type Seen, start } from "./checkout.ts";

const commands = {
  "npm start": ["npm", "start", "--silent"],
  "npx chancery serve": ["npx", "chancery", "serve"],
} as const;
const signals = ["SIGTERM", "SIGINT", "SIGKILL"] as const;
const processes = ["npm", "bootstrap", "service"] as const;
const rows = (["npm start", "npx chancery serve"] as const)
  .flatMap((command) => processes.flatMap((process) => signals.map((signal) => ({ command, process, signal }))))
  // npx leaves a shell in between, which keeps a SIGINT to itself until its child has ended. A Ctrl-C reaches that child too: see below.
  .filter(({ command, process, signal }) => !(command === "npx chancery serve" && process === "npm" && signal === "SIGINT"));

test.concurrent.for(rows)(
  "$signal to the $process of `$command` leaves nothing running (NPM-15)",
  async ({ command, process: target, signal }) => {
    await using running = await serve(command);
    process.kill(running.pids[target], signal);
    await running.ended;
    await gone(running.pids);
  },
);

test.concurrent.for(["npm start", "npx chancery serve"] as const)(
  "Ctrl-C, which the terminal sends to all of `%s`, ends all of it (NPM-15)",
  async (command) => {
    await using running = await serve(command);
    process.kill(-running.pids.npm, "SIGINT");
    await running.ended;
    await gone(running.pids);
  },
);

test.concurrent.for(["SIGTERM", "SIGKILL"] as const)("a service that drains for long is asked once, after %s to npm", async (signal) => {
  await using running = await serve("npm start", { DRAIN: "2500" });
  process.kill(running.pids.npm, signal);
  await gone(running.pids);
  expect(running.written().stdout).toMatch(/\ndrained\n$/);
});

function gone(pids: Record<string, number>): Promise<void> {
  return vi.waitFor(() => {
    const running = Object.keys(pids).filter((name) => isRunning(pids[name] ?? 0));
    if (running.length > 0) throw new Error(`still running: ${running.join(", ")}`);
  }, 10_000);
}

/** Starts the stand-in service through npm; disposal ends what still runs of it. */
async function serve(command: keyof typeof commands, more: NodeJS.ProcessEnv = {}) {
  const checkout = makeCheckout({ installed: true });
  // npx keeps a link to the checkout in its cache, under HOME.
  const own = { CHANCERY_PKCS11_MODULE: checkout.write("hsm/libhsm.so", ""), HOME: join(checkout.root, "home") };
  const [executable, ...args] = commands[command];
  const { child, ended, written } = start(executable, args, { cwd: checkout.root, env: plainEnvironment({ ...own, ...more }) });
  const service: Seen = await vi.waitFor(() => JSON.parse(written().stdout.split("\n")[0] ?? ""), 20_000);
  const npm = child.pid;
  if (npm === undefined) throw new Error(`${executable} did not start`);
  const pids = { npm, bootstrap: service.ppid, service: service.pid };
  const end = async () => {
    for (const pid of Object.values(pids)) if (isRunning(pid)) process.kill(pid, "SIGKILL");
    await ended;
    checkout[Symbol.dispose]();
  };
  return { ended, written, pids, [Symbol.asyncDispose]: end };
}
