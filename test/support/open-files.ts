import { readdir, readlink } from "node:fs/promises";

/** The paths, from `prefix` on, of the files that this process holds open, one for each descriptor. */
export async function openFiles(prefix: string): Promise<string[]> {
  const links = await Promise.all((await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
  return links.filter((link) => link.startsWith(prefix));
}
