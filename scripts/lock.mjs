import { spawnSync } from "node:child_process";
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { processStat } from "./process-stat.mjs";
import { say, systemCode } from "./say.mjs";

/**
 * Runs `work` while no other process on this machine holds the lock file; waits, and says so, while one does.
 *
 * The file names its holder by process id and start time, so neither a process that died nor a later one that was given
 * the same id holds it. It appears with its content by one link(2): an empty or garbled file is therefore nobody's.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, work) {
  mkdirSync(dirname(path), { recursive: true });
  await acquire(path);
  try {
    return await work();
  } finally {
    if (read(path) === ourName()) rmSync(path, { force: true });
  }
}

/** @param {string} path */
async function acquire(path) {
  let told = false;
  while (!claim(path)) {
    const holder = read(path);
    if (holder === undefined) continue;
    if (!isAlive(holder)) {
      discard(path, holder);
      continue;
    }
    if (!told) say(`waiting for process ${holder.split(" ")[0]}, which is at the same work`);
    told = true;
    await pause(200);
  }
}

/** @param {string} path */
function claim(path) {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, ourName());
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Takes a stale lock out of the way. Another process may have done so already and hold the lock by now: what was moved is
 * read again, and put back unless it is the stale one.
 * @param {string} path
 * @param {string} stale
 */
function discard(path, stale) {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
    if (readFileSync(aside, "utf8") !== stale) linkSync(aside, path);
  } catch (error) {
    // ENOENT: it is gone already. EEXIST: somebody else was quicker to lock.
    if (systemCode(error) !== "ENOENT" && systemCode(error) !== "EEXIST") throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** @param {string} holder */
function isAlive(holder) {
  const [, pid, started] = /^([1-9][0-9]*) (.+)$/.exec(holder) ?? [];
  return started !== undefined && startOf(Number(pid)) === started;
}

function ourName() {
  return `${process.pid} ${startOf(process.pid)}`;
}

/**
 * When process `pid` began, as text that no other process of that id shares; undefined when there is none.
 * @param {number} pid
 */
function startOf(pid) {
  if (process.platform !== "linux") {
    const ps = spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" });
    return ps.stdout?.trim() || undefined;
  }
  const stat = processStat(pid);
  if (!stat || stat.state === "Z") return undefined;
  return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${stat.start}`;
}
