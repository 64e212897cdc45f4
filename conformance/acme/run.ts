import { mkdtemp, readFile, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Matrix } from "../matrix.ts";
import { abilities } from "./ability.ts";
import { installClients } from "./install.ts";
import { namespaceMissing, runInNamespace } from "./namespace.ts";
import type { Tried } from "./walk.ts";

/** What the clients may take altogether; a run of both takes less than half of it where nothing hangs. */
const limitSeconds = 900;

/**
 * ACME clients that nobody changed, against services of their own: once through everything they can, once with good nonces refused, and once over two
 * instances of which one is restarted all the time. `only` names clients; all take part where it is empty.
 * @returns what each client says of its version.
 */
export async function acmeClients(
  matrix: Matrix,
  { only, tell }: { only: readonly string[]; tell: (line: string) => void },
): Promise<Record<string, string>> {
  const missing = await namespaceMissing();
  if (missing !== undefined) {
    tell(missing);
    return {};
  }
  const versions = await installClients(tell);
  const directory = await mkdtemp(join(tmpdir(), "chancery-acme-"));
  const file = join(directory, "outcomes");
  let whole = false;
  try {
    const status = await runInNamespace(join(import.meta.dirname, "inside.ts"), [directory, file, ...only], limitSeconds);
    const lines = existsSync(file) ? (await readFile(file, "utf8")).trim().split("\n") : [];
    for (const line of lines.filter((one) => one !== "")) {
      const { client, pass, ability, check, complaint } = JSON.parse(line) as Tried;
      const subject = pass === "" ? ability : pass;
      await matrix.check({ subject, peer: client, check }, async () => complaint);
    }
    await matrix.check({ subject: abilities[0], peer: "chancery", check: "every walk comes to its end" }, async () =>
      status === 0 ? undefined : `the run on the stage ended with ${status ?? `a signal, after ${limitSeconds} s at most`}`,
    );
    whole = status === 0 && lines.every((line) => (JSON.parse(line) as Tried).complaint === undefined);
  } finally {
    if (whole) await rm(directory, { recursive: true, force: true });
    else tell(`what clients and services left behind lies in ${directory}`);
  }
  return versions;
}
