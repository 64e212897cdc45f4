import { once } from "node:events";
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { freshGround, type Ground } from "../support/service.ts";
import { chanceryProcess, freePorts } from "./command-line.ts";
import { chancery } from "./shell.ts";

type Check = { readonly check: string; readonly verdict: string; readonly detail: string };

let ports: readonly number[];
beforeAll(async () => {
  ports = await freePorts(3);
});

async function doctor(
  ground: Ground,
  settings: Readonly<Record<string, string>> = {},
): Promise<{ exitCode: number; checks: readonly Check[] }> {
  const listen = {
    CHANCERY_LISTEN: `127.0.0.1:${ports[0]}`,
    CHANCERY_STATUS_LISTEN: `127.0.0.1:${ports[1]}`,
    CHANCERY_OPS_LISTEN: `127.0.0.1:${ports[2]}`,
  };
  const { exitCode, stdout } = await chanceryProcess(["doctor", "--json"], {
    cwd: ground.directory,
    env: { ...ground.env, ...listen, ...settings },
  });
  return { exitCode, checks: JSON.parse(stdout).checks };
}

test("before the first start nothing is wrong, and nothing is made in the data directory", async () => {
  await using ground = await freshGround();
  const place = join(ground.directory, "not-there-yet");
  const { exitCode, checks } = await doctor(ground, { CHANCERY_DATA_DIR: place });
  expect({ exitCode, bad: checks.filter(({ verdict }) => verdict !== "ok") }).toEqual({ exitCode: 0, bad: [] });
  expect(await readdir(ground.directory)).toEqual([]);
});

test("each fault is named with what to do about it, and makes the exit code 1", async () => {
  await using ground = await freshGround();
  for (const file of ["issuing.pin", "admin.token"]) {
    await writeFile(join(ground.directory, file), "1234");
    await chmod(join(ground.directory, file), 0o644);
  }
  const stranger = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  await once(stranger, "listening");
  const address = stranger.address();
  const held = `127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
  const { exitCode, checks } = await doctor(ground, {
    CHANCERY_PKCS11_MODULE: "/dev/null",
    DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
    CHANCERY_LISTEN: held,
    CHANCERY_OPS_LISTEN: "192.0.2.1:9090",
  });
  stranger.close();
  expect(exitCode).toBe(1);
  expect(checks.filter(({ verdict }) => verdict === "wrong")).toEqual([
    { check: "admin token", verdict: "wrong", detail: expect.stringContaining(`chmod 600 ${ground.directory}/admin.token`) },
    { check: "PIN file", verdict: "wrong", detail: expect.stringContaining(`chmod 600 ${ground.directory}/issuing.pin`) },
    { check: "PKCS#11 module", verdict: "wrong", detail: expect.stringContaining("CHANCERY_PKCS11_MODULE") },
    { check: "database", verdict: "wrong", detail: expect.stringContaining("DATABASE_URL") },
    { check: "TLS port", verdict: "wrong", detail: `${held} is held by another process: end it, or set CHANCERY_LISTEN to another port` },
    { check: "ops port", verdict: "wrong", detail: expect.stringContaining("CHANCERY_OPS_LISTEN") },
  ]);
});

test("an option that there is none of is named, and nothing else is looked at", async () => {
  await using ground = await freshGround();
  const { exitCode, stdout } = await chancery(["doctor", "--json"], {
    cwd: ground.directory,
    env: { ...ground.env, CHANCERY_LISTENN: "x" },
  });
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout).checks.at(-1)).toEqual({
    check: "options",
    verdict: "wrong",
    detail: expect.stringContaining("CHANCERY_LISTENN"),
  });
});

test("without CHANCERY_ENV it checks what npm start would run, and says so", async () => {
  await using ground = await freshGround();
  const { CHANCERY_ENV: _environment, DATABASE_URL: _url, ...env } = ground.env;
  await mkdir(join(ground.directory, "sub"));
  const { exitCode, stdout } = await chanceryProcess(["doctor"], {
    cwd: join(ground.directory, "sub"),
    env: {
      ...env,
      CHANCERY_LISTEN: `127.0.0.1:${ports[0]}`,
      CHANCERY_STATUS_LISTEN: `127.0.0.1:${ports[1]}`,
      CHANCERY_OPS_LISTEN: `127.0.0.1:${ports[2]}`,
    },
  });
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^ok +options +checked as an evaluation/m);
});
