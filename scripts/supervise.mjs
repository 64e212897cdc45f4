import { spawn, spawnSync } from "node:child_process";
import { processStat } from "./process-stat.mjs";
import { Refusal } from "./say.mjs";

const passedOn = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);

/** From the first signal to SIGKILL. The service drains in less; what has not ended by then hangs. */
const graceMilliseconds = 12_000;

/**
 * @typedef {object} Ending
 * @property {number | null} code exit code, null when a signal ended the process
 * @property {NodeJS.Signals | null} signal the signal that ended it
 * @property {NodeJS.Signals | undefined} asked the signal by which we were asked to stop while it ran
 */

/**
 * Runs a command to its end. However this process is asked to end, or ends, the command ends too: signals are passed on,
 * on Linux the kernel tells the child when we are killed, and the death of the npm above us, which sends no signal, is
 * seen by the change of parent.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv, stdio: import("node:child_process").StdioOptions, group?: boolean }} options
 *   `group`: the command gets a process group of its own, and signals go to all of it
 * @returns {Promise<Ending>}
 * @throws Refusal when it cannot be started
 */
export async function run(command, args, { group = false, ...options }) {
  const [executable = command, ...rest] = [...bond(), command, ...args];
  const child = spawn(executable, rest, { ...options, detached: group });
  const stop = stopper(child, group);
  for (const signal of passedOn) process.on(signal, stop.by);
  const watch = watchNpm(() => {
    // To a service that is stopping already, one more signal would mean: at once.
    if (!stop.asked()) stop.by("SIGTERM");
  });
  try {
    const [code, signal] = await ending(child, command);
    return { code, signal, asked: stop.asked() };
  } finally {
    clearInterval(watch);
    stop.end();
    for (const signal of passedOn) process.off(signal, stop.by);
  }
}

/**
 * Ends this process as its child ended, so that whoever waits for us reads the same exit code or signal.
 * @param {Ending} ending
 */
export function endLike({ code, signal }) {
  if (signal) process.kill(process.pid, signal);
  else process.exitCode = code ?? 1;
}

/** `setpriv` sets the child's parent-death signal and then becomes the child. */
function bond() {
  const pdeathsig = ["setpriv", "--pdeathsig", "TERM"];
  if (process.platform !== "linux") return [];
  const works = spawnSync("setpriv", ["--pdeathsig", "TERM", "true"], { stdio: "ignore" }).status === 0;
  return works ? pdeathsig : [];
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @param {boolean} group
 */
function stopper(child, group) {
  /** @type {NodeJS.Signals | undefined} */
  let first;
  /** @type {NodeJS.Timeout | undefined} */
  let escalation;
  let passedAt = Number.NEGATIVE_INFINITY;

  /** @param {NodeJS.Signals} signal */
  const send = (signal) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    if (group) process.kill(-child.pid, signal);
    else child.kill(signal);
  };
  return {
    /** @param {NodeJS.Signals} signal */
    by(signal) {
      first ??= signal;
      escalation ??= setTimeout(() => send("SIGKILL"), graceMilliseconds);
      // One Ctrl-C arrives here from the terminal and again from npm: that is one request.
      if (performance.now() - passedAt < 1_000) return;
      passedAt = performance.now();
      send(signal);
    },
    asked: () => first,
    end: () => clearTimeout(escalation),
  };
}

/**
 * Calls `lost` once when the npm that started us is gone. Only npm is watched: started from a shell or an init system we may be
 * meant to outlive the parent.
 * @param {() => void} lost
 */
function watchNpm(lost) {
  if (process.env.npm_command === undefined) return undefined;
  const before = lineage();
  const watch = setInterval(() => {
    if (lineage() === before) return;
    clearInterval(watch);
    lost();
  }, 500);
  return watch;
}

/** Our parent, and where that is the shell which `npx` leaves in between, the parent of it. */
function lineage() {
  const parent = process.platform === "linux" ? processStat(process.ppid) : undefined;
  return parent && /^(ba|da)?sh$/.test(parent.command) ? `${process.ppid} ${parent.parent}` : String(process.ppid);
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @param {string} command
 * @returns {Promise<[number | null, NodeJS.Signals | null]>}
 */
function ending(child, command) {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Refusal(`${command} could not be started: ${error.message}`)));
    child.once("exit", (code, signal) => resolve([code, signal]));
  });
}
