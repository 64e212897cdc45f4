import fs, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { basename } from "node:path";

/**
 * Writes a file, and ends by SIGKILL before system call number `killedBefore` of those that change or order what is on disk. Ends of itself
 * it tells its parent the calls it made.
 */
const [how = "", path = "", content = "", killedBefore = "0"] = process.argv.slice(2);
const calls: string[] = [];

function reached(call: string): void {
  if (calls.push(call) === Number(killedBefore)) process.kill(process.pid, "SIGKILL");
}

const { open, link, rename, rm } = fs;
Object.assign(fs, {
  open: async (...[file, flags, mode]: Parameters<typeof open>) => {
    const kind = flags === "r" ? "directory" : "file";
    reached(`open ${kind}${mode === undefined ? "" : ` ${Number(mode).toString(8)}`}`);
    return observed(await open(file, flags, mode), kind);
  },
  link: async (...[from, to]: Parameters<typeof link>) => (reached(`link to ${basename(String(to))}`), link(from, to)),
  rename: async (...[from, to]: Parameters<typeof rename>) => (reached(`rename to ${basename(String(to))}`), rename(from, to)),
  rm: async (...[file, options]: Parameters<typeof rm>) => (reached("remove"), rm(file, options)),
});
syncBuiltinESMExports();

function observed(handle: FileHandle, kind: string): FileHandle {
  const { writeFile, sync } = handle;
  return Object.assign(handle, {
    writeFile: async (...given: Parameters<typeof writeFile>) => (reached(`write ${kind}`), writeFile.apply(handle, given)),
    sync: async () => (reached(`sync ${kind}`), sync.apply(handle)),
  });
}

const { createFile, replaceFile } = await import("../../src/durable-file.ts");
if (how === "replace") await replaceFile(path, { content, mode: 0o600 });
if (how === "create") await createFile(path, { content, mode: 0o600 }, "use another");
// What a writer does who thinks of no crash: the fault has to bite here.
if (how === "plain") {
  const handle = await fs.open(path, "w", 0o600);
  await handle.writeFile(content);
  await handle.close();
}
process.send?.(calls);
process.disconnect?.();
