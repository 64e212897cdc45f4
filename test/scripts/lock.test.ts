import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withLock } from "../../scripts/lock.mjs";

let directory: string;
let lock: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "chancery-lock-"));
  lock = join(directory, "install.lock");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("a lock is gone after the work, also when the work failed", async () => {
  await expect(withLock(lock, async () => readFileSync(lock, "utf8"))).resolves.toMatch(new RegExp(`^${process.pid} .`));
  await expect(withLock(lock, () => Promise.reject(new Error("disk full")))).rejects.toThrow("disk full");
  expect(readdirSync(directory)).toEqual([]);
});

test.for([
  { name: "an empty file", holder: async () => "" },
  { name: "a file without a process id", holder: async () => "someone" },
  { name: "a process that is dead", holder: async () => (await nameOfDead()).name },
  { name: "a process that got the dead one's id", holder: async () => (await nameOfDead()).name.replace(/^\d+/, String(process.ppid)) },
  { name: "an id alone, though such a process lives", holder: async () => String(process.ppid) },
])("$name does not hold the lock (NPM-17)", async ({ holder }) => {
  writeFileSync(lock, await holder());
  await expect(withLock(lock, async () => "done")).resolves.toBe("done");
  expect(readdirSync(directory)).toEqual([]);
});

test("while a process holds the lock the others wait, one after the other (NPM-17)", async () => {
  const trace = join(directory, "trace");
  const children = Array.from({ length: 4 }, () => spawnHolder(trace));
  const codes = await Promise.all(children.map((child) => once(child, "exit")));
  expect(codes.map(([code]) => code)).toEqual([0, 0, 0, 0]);
  expect(readFileSync(trace, "utf8")).toMatch(/^(\+(\d+)\n-\2\n){4}$/);
  expect(existsSync(lock)).toBe(false);
});

test("of several that find a stale lock at once, each works alone (NPM-17)", async () => {
  writeFileSync(lock, (await nameOfDead()).name);
  const trace = join(directory, "trace");
  await Promise.all(Array.from({ length: 4 }, () => once(spawnHolder(trace), "exit")));
  expect(readFileSync(trace, "utf8")).toMatch(/^(\+(\d+)\n-\2\n){4}$/);
});

/** A process that writes `+pid` when it has the lock and `-pid` before it gives it back. */
function spawnHolder(trace: string) {
  const source = `
    import { appendFileSync } from "node:fs";
    import { setTimeout as pause } from "node:timers/promises";
    import { withLock } from ${JSON.stringify(join(import.meta.dirname, "../../scripts/lock.mjs"))};
    await withLock(${JSON.stringify(lock)}, async () => {
      appendFileSync(${JSON.stringify(trace)}, "+" + process.pid + "\\n");
      await pause(50);
      appendFileSync(${JSON.stringify(trace)}, "-" + process.pid + "\\n");
    });`;
  return spawn(process.execPath, ["--input-type=module", "-e", source], { stdio: "ignore" });
}

/** What a process that has died wrote into its lock. */
async function nameOfDead(): Promise<{ name: string }> {
  const copy = join(directory, "dead.lock");
  const source = `
    import { copyFileSync } from "node:fs";
    import { withLock } from ${JSON.stringify(join(import.meta.dirname, "../../scripts/lock.mjs"))};
    await withLock(${JSON.stringify(copy)}, async () => copyFileSync(${JSON.stringify(copy)}, ${JSON.stringify(`${copy}.copy`)}));`;
  await once(spawn(process.execPath, ["--input-type=module", "-e", source], { stdio: "ignore" }), "exit");
  const name = readFileSync(`${copy}.copy`, "utf8");
  rmSync(`${copy}.copy`);
  return { name };
}
