import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { execute, outputOf } from "./execute.ts";
import type { Run } from "./matrix.ts";
import { checkout } from "./service.ts";

const subject = "README, fresh clone";
/** How the last line of what a start tells ends. */
const ready = "what else there is.\n";
const ports = [9443, 9080, 9090];

/**
 * What somebody does who has never seen us: a clone of the newest commit, an empty HOME, and every command of the README as it stands there.
 * Needs the default ports.
 */
export async function newcomer({ matrix }: Run, directory: string): Promise<void> {
  const clone = join(directory, "clone");
  const home = join(directory, "home");
  await mkdir(home);
  // An HTTP status of 400 or more is to fail a command of curl.
  await writeFile(join(home, ".curlrc"), "fail\n");
  await outputOf("git", ["clone", "--quiet", checkout, clone]);
  const environment = cleanEnvironment(home);
  const check = (name: string, judge: () => Promise<string | undefined>) => matrix.check({ subject, peer: "chancery", check: name }, judge);

  await check("npm start, bare", async () => {
    await using start = await npmStart(clone, environment, 900);
    const lines = start.told().trim().split("\n").length;
    if (lines >= 20) return `it told ${lines} lines; under 20 were promised`;
    if (!start.told().includes("npx chancery cert issue")) return "it names no command to a first certificate";
    const [first, ...steps] = await readmeSteps(clone);
    if (plain(start.told(), clone) !== first?.output) return `npm start told otherwise than the README:\n${start.told()}`;
    for (const { commands, output } of steps) {
      let told = "";
      for (const command of commands) {
        const ended = await execute("sh", ["-c", command], { directory: clone, environment, limitSeconds: 120 });
        if (ended.status !== 0) return `\`${command}\` ended with ${ended.status}: ${ended.stderr.trim().slice(-500)}`;
        told += ended.stdout;
      }
      if (output !== undefined && plain(told, clone) !== output)
        return `\`${commands.join("; ")}\` told otherwise than the README:\n${told}`;
    }
    const key = await stat(join(clone, "var/first/localhost.key"));
    if ((key.mode & 0o777) !== 0o600) return `localhost.key has mode ${(key.mode & 0o777).toString(8)}`;
    return await nothingListens(() => start.end("SIGTERM"));
  });

  await check("npm start again: the same root, in seconds", async () => {
    const root = await readFile(join(clone, "var/root.pem"), "utf8");
    const before = performance.now();
    await using start = await npmStart(clone, environment, 60);
    const seconds = (performance.now() - before) / 1000;
    process.stdout.write(`a second npm start was ready after ${seconds.toFixed(1)} s (aim: 5)\n`);
    if ((await readFile(join(clone, "var/root.pem"), "utf8")) !== root) return "another root";
    return await nothingListens(() => start.end("SIGINT"));
  });
}

/** A shell block of the README, and the block of output that follows it before the next one, its changing parts made plain. */
type Step = { readonly commands: readonly string[]; readonly output: string | undefined };

/** The README's shell blocks in order: the first one serves. */
async function readmeSteps(clone: string): Promise<Step[]> {
  const text = await readFile(join(clone, "README.md"), "utf8");
  const blocks = [...text.matchAll(/^```(sh)?\n([\s\S]*?)^```$/gm)].map((match) => ({ shell: match[1] === "sh", body: match[2] ?? "" }));
  const steps = blocks.flatMap(({ shell, body }, index): Step[] => {
    if (!shell) return [];
    const next = blocks[index + 1];
    const shown = next && !next.shell && !next.body.includes("─");
    return [{ commands: body.trim().split("\n"), output: shown ? plain(next.body, "/home/you/chancery") : undefined }];
  });
  const shown = steps.filter(({ output }) => output !== undefined);
  if (steps[0]?.commands[0] !== "npm start" || steps.length < 5 || shown.length < 3) {
    throw new Error("the README does not begin with `npm start`, or shows less output than it should");
  }
  return steps;
}

/** Output without what differs from run to run: the directory of the clone, serials, times. */
function plain(output: string, clone: string): string {
  return output
    .replaceAll(clone, "CLONE")
    .replace(/\b[0-9a-f]{32}\b/g, "SERIAL")
    .replace(/\d{4}-\d\d-\d\dT[\d:]{8}Z/g, "TIME")
    .trim();
}

type Start = AsyncDisposable & { readonly told: () => string; readonly end: (signal: NodeJS.Signals) => Promise<void> };

/** `npm start`, once it says that it serves. */
async function npmStart(directory: string, environment: NodeJS.ProcessEnv, limitSeconds: number): Promise<Start> {
  const child: ChildProcess = spawn("npm", ["start", "--silent"], { cwd: directory, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let told = "";
  let log = "";
  const exit = once(child, "exit");
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await exit;
  };
  const serving = new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`not ready within ${limitSeconds} s: ${log.slice(-2000)}`)), limitSeconds * 1000);
    child.stdout?.on("data", (chunk: Buffer) => {
      told += chunk.toString();
      if (!told.includes(ready)) return;
      clearTimeout(late);
      resolve();
    });
    child.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString()));
    void exit.then(() => reject(new Error(`npm start ended: ${log.slice(-2000)}`)));
  });
  try {
    await serving;
  } catch (error) {
    await end("SIGTERM");
    throw error;
  }
  return { told: () => told, end, [Symbol.asyncDispose]: () => end("SIGTERM") };
}

/** Ends the service and looks whether anybody still listens, for ten seconds at most. */
async function nothingListens(end: () => Promise<void>): Promise<string | undefined> {
  await end();
  for (let attempt = 0; attempt < 100; attempt++) {
    const open = await Promise.all(ports.map(isOpen));
    if (!open.includes(true)) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return "somebody still listens after the end";
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve((socket.destroy(), true)));
    socket.once("error", () => resolve(false));
  });
}

/** An empty HOME, and nothing that npm or this run put into the environment. */
function cleanEnvironment(home: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|CHANCERY_|DATABASE_URL$|SOFTHSM2_CONF$|INIT_CWD$|NODE_OPTIONS$|UV_)/.test(name),
  );
  const path = (process.env["PATH"] ?? "").split(":").filter((entry) => !entry.includes("node_modules"));
  return { ...Object.fromEntries(kept), PATH: path.join(":"), HOME: home };
}
