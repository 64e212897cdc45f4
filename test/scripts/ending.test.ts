import { join } from "node:path";
import { onTestFinished, test, vi } from "vitest";
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
    const { ended, pids } = await serve(command);
    process.kill(pids[target], signal);
    await ended;
    await gone(pids);
  },
);

test.concurrent.for(["npm start", "npx chancery serve"] as const)(
  "Ctrl-C, which the terminal sends to all of `%s`, ends all of it (NPM-15)",
  async (command) => {
    const { ended, pids } = await serve(command);
    process.kill(-pids.npm, "SIGINT");
    await ended;
    await gone(pids);
  },
);

function gone(pids: Record<string, number>): Promise<void> {
  return vi.waitFor(() => {
    const running = Object.keys(pids).filter((name) => isRunning(pids[name] ?? 0));
    if (running.length > 0) throw new Error(`still running: ${running.join(", ")}`);
  }, 10_000);
}

async function serve(command: keyof typeof commands) {
  const checkout = makeCheckout({ installed: true });
  onTestFinished(() => checkout[Symbol.dispose]());
  // npx keeps a link to the checkout in its cache, under HOME.
  const env = plainEnvironment({ CHANCERY_PKCS11_MODULE: checkout.write("hsm/libhsm.so", ""), HOME: join(checkout.root, "home") });
  const [executable, ...args] = commands[command];
  const { child, ended, written } = start(executable, args, { cwd: checkout.root, env });
  const service: Seen = await vi.waitFor(() => JSON.parse(written().stdout), 20_000);
  const npm = child.pid;
  if (npm === undefined) throw new Error(`${executable} did not start`);
  onTestFinished(() => {
    for (const pid of [npm, service.ppid, service.pid]) if (isRunning(pid)) process.kill(pid, "SIGKILL");
  });
  return { ended, pids: { npm, bootstrap: service.ppid, service: service.pid } };
}
