import { chmod, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createFile, makeDirectory, replaceFile } from "../src/durable-file.ts";
import { temporaryDirectory } from "./cli/shell.ts";

test("of fifty writers of one new file one succeeds, and the file is whole", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "a.key");
  const contents = Array.from({ length: 50 }, (_, index) => `${index}\n`.repeat(1000));
  const outcomes = await Promise.allSettled(contents.map((content) => createFile(path, { content, mode: 0o600 }, "use another")));
  const winner = outcomes.findIndex(({ status }) => status === "fulfilled");
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  expect(await readFile(path, "utf8")).toBe(contents[winner]);
  expect(await readdir(directory.path)).toEqual(["a.key"]);
});

test("a reader of a file that is being replaced sees the old or the new one, never a part", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "a.pem");
  const versions = Array.from({ length: 20 }, (_, index) => String(index).padStart(2, "0").repeat(100_000));
  await replaceFile(path, { content: versions[0] ?? "", mode: 0o644 });
  const read = () => readFile(path, "utf8");
  const writing = versions.reduce((before, content) => before.then(() => replaceFile(path, { content, mode: 0o644 })), Promise.resolve());
  const reading = (async () => {
    const seen: string[] = [];
    while (seen.at(-1) !== versions.at(-1)) seen.push(await read());
    return seen;
  })();
  const [seen] = await Promise.all([reading, writing]);
  expect(seen.filter((text) => !versions.includes(text))).toEqual([]);
  expect(await readdir(directory.path)).toEqual(["a.pem"]);
});

test("a replaced file has the new mode, whatever the old one had, and a link in its place is not followed", async () => {
  await using directory = await temporaryDirectory();
  const [path, target] = [join(directory.path, "a.key"), join(directory.path, "target")];
  await writeFile(target, "untouched");
  await chmod(target, 0o666);
  await symlink(target, path);
  await replaceFile(path, { content: "secret", mode: 0o600 });
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readFile(target, "utf8")).toBe("untouched");
});

test("a directory is made with those above it, and one that is there stays as it is", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "a/b/c");
  makeDirectory(path, 0o700);
  for (const made of [path, join(directory.path, "a")]) expect((await stat(made)).mode & 0o777).toBe(0o700);
  await chmod(path, 0o750);
  makeDirectory(path, 0o700);
  expect((await stat(path)).mode & 0o777).toBe(0o750);
});

test.for([
  { name: "under /proc, which takes none", path: () => "/proc/foo/bar", code: "ENOENT" },
  { name: "in place of a file", path: (directory: string) => join(directory, "file"), code: "EEXIST" },
  { name: "below a file", path: (directory: string) => join(directory, "file/a/b"), code: "ENOTDIR" },
])("a directory $name is refused at once", async ({ path, code }) => {
  await using directory = await temporaryDirectory();
  await writeFile(join(directory.path, "file"), "");
  expect(() => makeDirectory(path(directory.path))).toThrow(expect.objectContaining({ code }));
});
