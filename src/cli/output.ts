import { rm, stat } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { makeDirectory, replaceFile } from "../durable-file.ts";
import { Fault } from "../fault.ts";
import { systemReason } from "./failure.ts";

/**
 * Sees to it, before anything is asked for, that `files` can be written to the directory of `--out`: makes it, and writes there once.
 * @throws Fault `malformed` when it is a file, `refusedToStart` when it cannot be made or written to, or when a directory stands where a file goes.
 */
export async function requireOutput(directory: string, files: readonly string[]): Promise<void> {
  const present = await stat(directory).catch(() => undefined);
  if (present && !present.isDirectory()) throw new Fault("malformed", `--out ${directory} is a file: it takes a directory`);
  try {
    makeDirectory(directory);
    const trial = join(directory, `.chancery-${randomUUID()}`);
    await replaceFile(trial, { content: "", mode: 0o600 });
    await rm(trial, { force: true });
  } catch (cause) {
    const verb = present ? "written to" : "made";
    throw new Fault("refusedToStart", `${directory} cannot be ${verb} (${systemReason(cause)}): give an --out that you may write to`, {
      cause,
    });
  }
  for (const file of files) {
    if ((await stat(file).catch(() => undefined))?.isDirectory()) {
      throw new Fault("refusedToStart", `${file} is a directory, and a file would have to stand there: use another --out`);
    }
  }
}

/**
 * Writes a certificate that was issued, with its chain, both PEM.
 * @throws Fault `refusedToStart` that says how to get it all the same.
 */
export async function writeCertificate(file: string, serial: string, pem: string): Promise<void> {
  try {
    await replaceFile(file, { content: pem, mode: 0o644 });
  } catch (cause) {
    const remedy = `the certificate is issued, and \`npx chancery cert show ${serial} --pem\` prints it`;
    throw new Fault("refusedToStart", `${file} cannot be written (${systemReason(cause)}); ${remedy}`, { cause });
  }
}
