import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { build } from "../../src/app.ts";
import { softHsmConf } from "../../src/hsm/softhsm.ts";
import { initialiseToken, listTokens } from "../../src/hsm/token.ts";
import { freshGround, type Ground, standingGround } from "../support/service.ts";
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

const placeOf = ({ directory, env }: Pick<Ground, "directory" | "env">) => ({ cwd: directory, env });
const wrong = (checks: readonly Check[]) => checks.filter(({ verdict }) => verdict === "wrong");

describe("the token is lost and the database is kept", () => {
  test(
    "its directory is gone: doctor names the authority whose key is absent, a start refuses and makes no empty token, and all is well when it is back",
    { timeout: 90_000 },
    async () => {
      await using ground = await standingGround();
      expect((await doctor(ground)).checks).toContainEqual({ check: "keys", verdict: "ok", detail: "3 on the token" });
      const tokens = join(ground.directory, "tokens");
      await rename(tokens, `${tokens}.away`);
      const { exitCode, checks } = await doctor(ground);
      expect(exitCode).toBe(1);
      expect(wrong(checks)).toEqual([
        {
          check: "token",
          verdict: "wrong",
          detail: expect.stringMatching(/the key of authority issuing-1.*are not there.*put the files of/),
        },
      ]);
      expect(await readdir(ground.directory)).not.toContain("tokens");

      for (const command of ["serve", "init"]) {
        const { exitCode: refused, stderr } = await chanceryProcess([command], placeOf(ground));
        expect(refused).toBe(1);
        expect(stderr).toContain("the key of authority issuing-1 is not on the token chancery-issuing");
        expect(stderr).toContain("the key of authority root-1 is not on the token chancery-root");
        expect(await readdir(tokens)).toEqual([]);
      }

      await rmdir(tokens);
      await rename(`${tokens}.away`, tokens);
      const healed = await doctor(ground);
      expect({ exitCode: healed.exitCode, wrong: wrong(healed.checks) }).toEqual({ exitCode: 0, wrong: [] });
    },
  );

  test(
    "an empty token stands in its place: doctor and the start say that the authority's key is not on it",
    { timeout: 90_000 },
    async () => {
      await using ground = await standingGround();
      await rm(join(ground.directory, "tokens"), { recursive: true });
      const { pkcs11PinFile, pkcs11Token: label, pkcs11Module: module = "" } = ground.config;
      const userPin = await readFile(pkcs11PinFile, "utf8");
      await initialiseToken({ module, softHsmConf: await softHsmConf(ground.directory), label, soPin: "13579135", userPin });

      const { exitCode, checks } = await doctor(ground);
      expect(exitCode).toBe(1);
      expect(wrong(checks)).toEqual([
        {
          check: "keys",
          verdict: "wrong",
          detail: expect.stringMatching(/not on the token chancery-issuing: .*the key of authority issuing-1/),
        },
      ]);
      const { exitCode: refused, stderr } = await chanceryProcess(["serve"], placeOf(ground));
      expect(refused).toBe(1);
      expect(stderr).toContain("the key of authority issuing-1 is not on the token chancery-issuing");
      expect(stderr).not.toContain("verify");
    },
  );

  test(
    "beside an embedded database that does not run, the ceremony's certificates show that there were keys",
    { timeout: 90_000 },
    async () => {
      await using ground = await freshGround();
      const { DATABASE_URL: _url, ...env } = ground.env;
      const own = { ...ground, env };
      expect((await chanceryProcess(["init"], placeOf(own))).exitCode).toBe(0);
      expect((await doctor(own)).exitCode).toBe(0);
      await rm(join(ground.directory, "tokens"), { recursive: true });
      const { exitCode, checks } = await doctor(own);
      expect(exitCode).toBe(1);
      expect(wrong(checks)).toEqual([
        {
          check: "token",
          verdict: "wrong",
          detail: expect.stringContaining(`the keys of the authorities in ${ground.directory}/chain.pem`),
        },
      ]);
      const { exitCode: refused, stderr } = await chanceryProcess(["serve"], placeOf(own));
      expect(refused).toBe(1);
      expect(stderr).toContain("the key of authority issuing-1 is not on the token chancery-issuing");
    },
  );

  test(
    "the root's token alone may be away: an evaluation starts without it, and makes no other in its place",
    { timeout: 90_000 },
    async () => {
      await using ground = await standingGround();
      await (await build(ground.config))[Symbol.asyncDispose]();
      const conf = { module: ground.config.pkcs11Module ?? "", softHsmConf: join(ground.directory, "softhsm2.conf") };
      const { serial = "" } = (await listTokens(conf)).find((token) => token.label === ground.config.pkcs11RootToken) ?? {};
      // SoftHSM names a token's folder after its serial's end.
      const tokens = join(ground.directory, "tokens");
      const folder = (await readdir(tokens)).find((name) => name.replaceAll("-", "").endsWith(serial)) ?? "none";
      await rm(join(tokens, folder), { recursive: true });
      await rm(ground.config.pkcs11RootPinFile);
      await (await build(ground.config))[Symbol.asyncDispose]();
      expect((await listTokens(conf)).filter(({ initialised }) => initialised).map(({ label }) => label)).toEqual([
        ground.config.pkcs11Token,
      ]);
    },
  );
});

test(
  "a PIN file that is gone while its token is there is wrong in an evaluation too: no start makes it anew",
  { timeout: 60_000 },
  async () => {
    await using ground = await standingGround();
    await rm(ground.config.pkcs11PinFile);
    const { exitCode, checks } = await doctor(ground);
    expect(exitCode).toBe(1);
    expect(checks).toContainEqual({ check: "PIN file", verdict: "wrong", detail: expect.stringContaining("CHANCERY_PKCS11_PIN_FILE") });
  },
);
