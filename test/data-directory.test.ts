import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { takeDataDirectory } from "../src/data-directory.ts";

let directory: string;
beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), "chancery-directory-")), "var");
});
afterEach(() => rm(join(directory, ".."), { recursive: true, force: true }));

const lock = () => join(directory, "instance.lock");

test("the directory is made for its owner alone, and given back when the service ends", async () => {
  const held = takeDataDirectory(directory);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
  expect(await readFile(lock(), "utf8")).toMatch(new RegExp(`^${process.pid} `));
  held[Symbol.dispose]();
  expect(await readdir(directory)).toEqual([]);
});

test("a second owner is refused, with the first one's process", () => {
  using held = takeDataDirectory(directory);
  expect(held).toBeDefined();
  expect(() => takeDataDirectory(directory)).toThrow(`in use by process ${process.pid}`);
});

test.for([
  { name: "of a process that has ended", holder: () => `${spawnSync(process.execPath, ["-e", ""]).pid} 1` },
  { name: "of a process whose number another one has now", holder: () => `${process.pid} 1` },
  { name: "that is empty", holder: () => "" },
  { name: "that holds something else", holder: () => "hello\n" },
])("a lock $name is taken over", async ({ holder }) => {
  takeDataDirectory(directory)[Symbol.dispose]();
  await writeFile(lock(), holder());
  using held = takeDataDirectory(directory);
  expect(held).toBeDefined();
  expect(await readFile(lock(), "utf8")).toMatch(new RegExp(`^${process.pid} `));
  expect(await readdir(directory)).toEqual(["instance.lock"]);
});

test("a directory that cannot be made is refused with the option's name", async () => {
  await writeFile(join(directory, "..", "file"), "");
  for (const impossible of [join(directory, "..", "file", "var"), "/proc/chancery/var"])
    expect(() => takeDataDirectory(impossible)).toThrow(`CHANCERY_DATA_DIR ${impossible} cannot be made`);
});
