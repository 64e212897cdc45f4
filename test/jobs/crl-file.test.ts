import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCrlFile } from "../../src/jobs/crl-file.ts";
import { openFiles } from "../support/open-files.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-crl-file-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("a file of a CRL", () => {
  test("stays open until it is released", async () => {
    const path = join(directory, "issuing-1.crl");
    await writeFile(path, "crl");
    const file = await openCrlFile(path);
    expect([file?.octets, await openFiles(path)]).toEqual([3, [path]]);
    file?.release();
    await expect.poll(() => openFiles(path)).toEqual([]);
  });

  test.for([
    { name: "a named pipe that nobody writes to", make: (path: string) => promisify(execFile)("mkfifo", [path]) },
    { name: "a directory", make: (path: string) => promisify(execFile)("mkdir", [path]) },
    { name: "nothing", make: async () => {} },
    { name: "below/a file", make: (path: string) => writeFile(dirname(path), "") },
  ])("is not $name", async ({ name, make }) => {
    const path = join(directory, name);
    await make(path);
    expect(await openCrlFile(path)).toBeUndefined();
    expect(await openFiles(path)).toEqual([]);
  });

  test("that cannot be opened is not taken for none", async () => {
    const path = join(directory, "loop");
    await symlink("loop", path);
    await expect(openCrlFile(path)).rejects.toMatchObject({ code: "ELOOP" });
  });

  test("that cannot be read is closed", async () => {
    // The first page of a process's memory is mapped nowhere.
    const path = `/proc/${process.pid}/mem`;
    await expect(openCrlFile(path)).rejects.toMatchObject({ code: "EIO" });
    expect(await openFiles(path)).toEqual([]);
  });
});
