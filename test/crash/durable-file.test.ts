import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const child = join(import.meta.dirname, "durable-file-child.ts");

type How = "replace" | "create" | "plain";

/** Writes "new" in a process of its own, killed before its call number `killedBefore` (0: not); the calls it made, when it was not killed. */
async function write(how: How, path: string, killedBefore = 0): Promise<readonly string[] | undefined> {
  const writer = fork(child, [how, path, "new", String(killedBefore)], { stdio: "inherit" });
  let calls: readonly string[] | undefined;
  writer.on("message", (message: readonly string[]) => (calls = message));
  const [, signal] = await once(writer, "exit");
  expect(signal).toBe(calls ? null : "SIGKILL");
  return calls;
}

/** What stands at a path after each kill: before the first call, before the second, … until the writer lived. */
async function afterEachKill(how: How, old: string | undefined): Promise<(string | undefined)[]> {
  const seen: (string | undefined)[] = [];
  for (let lived = false; !lived;) {
    await using ground = await directory();
    const path = join(ground.path, "secret");
    if (old !== undefined) await writeFile(path, old);
    lived = (await write(how, path, seen.length + 1)) !== undefined;
    seen.push(await readFile(path, "utf8").catch(() => undefined));
    // Whatever the kill left beside it, the next write takes away.
    if (how !== "plain") {
      await write("replace", path);
      expect([await readdir(ground.path), await readFile(path, "utf8")]).toEqual([["secret"], "new"]);
    }
  }
  return seen;
}

async function directory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "chancery-durable-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

test("killed before any of its calls, a replaced file is the old or the new one", { timeout: 60_000 }, async () => {
  const seen = await afterEachKill("replace", "old");
  expect(seen.length).toBeGreaterThan(6);
  expect(new Set(seen)).toEqual(new Set(["old", "new"]));
});

test("killed before any of its calls, a created file is not there or whole", { timeout: 60_000 }, async () => {
  const seen = await afterEachKill("create", undefined);
  expect(seen.length).toBeGreaterThan(6);
  expect(new Set(seen)).toEqual(new Set([undefined, "new"]));
});

test("the same kills leave a file that is written in place empty", { timeout: 60_000 }, async () => {
  expect(await afterEachKill("plain", "old")).toContain("");
});

test.for([
  { how: "replace", places: ["rename to secret", "remove"] },
  { how: "create", places: ["link to secret", "remove"] },
] as const)(
  "$how: the content is synced before it gets its name, the directory after, and the mode holds from the start",
  async ({ how, places }) => {
    await using ground = await directory();
    expect(await write(how, join(ground.path, "secret"))).toEqual([
      "open file 600",
      "write file",
      "sync file",
      ...places,
      "open directory",
      "sync directory",
    ]);
  },
);
