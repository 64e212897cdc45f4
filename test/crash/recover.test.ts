import { fork } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { recoverAdminToken } from "../../src/admin-token.ts";
import { startService } from "../support/service.ts";

test(
  "a recovery that is killed between database and file leaves the file as it was, and the next one writes a token that the service takes",
  { timeout: 60_000 },
  async () => {
    await using chancery = await startService();
    const { directory, env, config } = chancery.ground;
    const before = await readdir(directory);
    const child = fork(join(import.meta.dirname, "recover-child.ts"), [], { env: { ...process.env, ...env }, execArgv: [] });
    expect((await once(child, "exit"))[1]).toBe("SIGKILL");
    const text = async () => (await readFile(join(directory, "admin.token"), "utf8")).trim();
    expect([await text(), await readdir(directory)]).toEqual([chancery.adminToken, before]);

    const { created } = await recoverAdminToken(config);
    const answer = await chancery.ask("/v1/tokens", { token: await text() });
    expect(answer.status).toBe(200);
    const made = (answer.json()["tokens"] as { id: string; createdBy: string }[]).filter(({ createdBy }) => createdBy.startsWith("host:"));
    // The token whose text nobody has is there to be revoked.
    expect([made.length, made.some(({ id }) => id === created.id)]).toEqual([2, true]);
  },
);
