import { X509Certificate } from "node:crypto";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freshDatabase } from "../support/database.ts";
import { freshGround } from "../support/service.ts";
import { chanceryProcess, freePorts } from "./command-line.ts";
import { chancery } from "./shell.ts";

test("migrate names what it applied, and the second time that there is nothing to do", async () => {
  await using ground = await freshGround();
  await using database = await freshDatabase({ empty: true });
  const place = { cwd: ground.directory, env: { ...ground.env, DATABASE_URL: database.url } };
  expect(await chancery(["migrate"], place)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^applied 0001_.*\.sql\n/),
  });
  const again = await chancery(["migrate", "--json"], place);
  expect({ ...again, stdout: JSON.parse(again.stdout) }).toMatchObject({ exitCode: 0, stdout: { applied: [] } });
});

test(
  "init makes root and issuing authority once, under the names given; doctor then tries the PIN, and a wrong one a single time (PK-9)",
  { timeout: 90_000 },
  async () => {
    await using ground = await freshGround();
    const [tls, status, ops] = await freePorts(3);
    const listen = {
      CHANCERY_LISTEN: `127.0.0.1:${tls}`,
      CHANCERY_STATUS_LISTEN: `127.0.0.1:${status}`,
      CHANCERY_OPS_LISTEN: `127.0.0.1:${ops}`,
    };
    const place = { cwd: ground.directory, env: { ...ground.env, ...listen } };
    const init = ["init", "--organization", "Example Ltd", "--country", "GB", "--issuing-key-algorithm", "P-384"];
    const made = await chanceryProcess([...init, "--json"], place);
    expect(made.exitCode).toBe(0);
    const { rootFile, sha256, subject } = JSON.parse(made.stdout);
    const again = await chancery(init, place);
    expect(again.stdout).toContain(`\nnext: CHANCERY_ENV=evaluation CHANCERY_DATA_DIR=${ground.directory} npx chancery serve\n`);
    const root = new X509Certificate(await readFile(rootFile));
    expect(root.subject).toBe("C=GB\nO=Example Ltd\nCN=Example Ltd Root CA 1");
    expect(subject).toBe("CN=Example Ltd Root CA 1,O=Example Ltd,C=GB");
    expect(root.fingerprint256.replaceAll(":", "").toLowerCase()).toBe(sha256);

    // What a kill in mid-write could leave: an empty file is no token.
    await writeFile(join(ground.directory, "admin.token"), "");
    expect((await chancery(init, place)).exitCode).toBe(0);
    expect(await readFile(join(ground.directory, "admin.token"), "utf8")).toMatch(/^chancery_\w+\n$/);

    const other = await chancery(["init", "--organization", "Another", "--issuing-key-algorithm", "P-384"], place);
    expect(other).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining("root-1 stands already under another name") });
    expect(new X509Certificate(await readFile(rootFile)).fingerprint256).toBe(root.fingerprint256);

    const pinFile = join(ground.directory, "issuing.pin");
    await chmod(pinFile, 0o600);
    await writeFile(pinFile, "not the PIN");
    const doctor = async () => JSON.parse((await chanceryProcess(["doctor", "--json"], place)).stdout).checks;
    expect(await doctor()).toContainEqual({ check: "PIN", verdict: "wrong", detail: expect.stringContaining("CHANCERY_PKCS11_PIN_FILE") });
    expect(await doctor()).toContainEqual({ check: "PIN", verdict: "warning", detail: expect.stringContaining("not tried") });
  },
);

test("in production init asks for the organization, which stands in every chain", async () => {
  await using ground = await freshGround({ CHANCERY_ENV: "evaluation" });
  const env = {
    ...ground.env,
    CHANCERY_ENV: "production",
    CHANCERY_BASE_URL: "https://ca.example.org",
    CHANCERY_STATUS_URL: "http://pki.example.org",
    CHANCERY_PKCS11_TOKEN: "issuing",
    CHANCERY_PKCS11_PIN_FILE: "issuing.pin",
  };
  const { exitCode, stderr } = await chancery(["init"], { cwd: ground.directory, env });
  expect(exitCode).toBe(2);
  expect(stderr).toContain("--organization");
});

test.for(["root.pin", "issuing.pin", "security-officer.pin"])(
  "an evaluation's %s that is empty is refused by its name, and stays",
  async (name) => {
    await using ground = await freshGround();
    const file = join(ground.directory, name);
    await writeFile(file, "\n", { mode: 0o400 });
    const { exitCode, stdout, stderr } = await chancery(["init"], { cwd: ground.directory, env: ground.env });
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toMatch(/^chancery: [^\n]* is empty: [^\n]*\n$/);
    expect(stderr).toContain(file);
    expect(await readFile(file, "utf8")).toBe("\n");
  },
);
