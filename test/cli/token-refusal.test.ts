import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { softHsmConf } from "../../src/hsm/softhsm.ts";
import { initialiseToken } from "../../src/hsm/token.ts";
import { freshGround, type Ground, standingGround } from "../support/service.ts";
import { chancery } from "./shell.ts";

const pins = { issuing: "24681012", root: "13579111" };
let ground: Ground;
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  ground = await freshGround();
  const { directory } = ground;
  const conf = await softHsmConf(directory);
  const module = ground.env["CHANCERY_PKCS11_MODULE"] ?? "";
  for (const [label, userPin] of Object.entries(pins)) {
    await initialiseToken({ module, softHsmConf: conf, label, soPin: "99999999", userPin });
    await writeFile(join(directory, `${label}.pin`), userPin, { mode: 0o400 });
  }
  await writeFile(join(directory, "wrong.pin"), "00000000", { mode: 0o400 });
  env = {
    ...ground.env,
    CHANCERY_ENV: "production",
    CHANCERY_BASE_URL: "https://ca.example.org",
    CHANCERY_STATUS_URL: "http://pki.example.org",
    CHANCERY_PKCS11_TOKEN: "issuing",
    CHANCERY_PKCS11_PIN_FILE: join(directory, "issuing.pin"),
    CHANCERY_PKCS11_ROOT_TOKEN: "root",
    CHANCERY_PKCS11_ROOT_PIN_FILE: join(directory, "root.pin"),
    SOFTHSM2_CONF: conf,
  };
}, 60_000);
afterAll(() => ground[Symbol.asyncDispose]());

const faults = [
  { fault: "a wrong PIN", option: "PIN_FILE", value: "wrong.pin", says: /CKR_PIN_INCORRECT/ },
  { fault: "a PIN file that is not there", option: "PIN_FILE", value: "none.pin", says: /none\.pin cannot be read/ },
  {
    fault: "a wrong label",
    option: "TOKEN",
    value: "elsewhere",
    says: /no token has the label "elsewhere".*"issuing".*"root"|"root".*"issuing"/,
  },
];

test.for(
  faults.flatMap((row) => [
    { ...row, token: "issuing", named: `CHANCERY_PKCS11_${row.option}` },
    { ...row, token: "root", named: `CHANCERY_PKCS11_ROOT_${row.option}` },
  ]),
)(
  "init with $fault of the $token token is refused, and the remedy names $named and no other option (PK-7, PF-2)",
  { timeout: 60_000 },
  async ({ named, value, says }) => {
    const init = ["init", "--organization", "Example Ltd"];
    const { exitCode, stdout, stderr } = await chancery(init, { cwd: ground.directory, env: { ...env, [named]: value } });
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    const [sentence = ""] = stderr.split("\n").filter((line) => line.startsWith("chancery: "));
    expect(sentence).toMatch(says);
    expect(sentence.match(/CHANCERY_\w+/g)).toEqual([named]);
  },
);

test("an evaluation whose PIN file is gone keeps its token: none is made up, and the refusal names CHANCERY_PKCS11_PIN_FILE (PF-2)", async () => {
  await using own = await standingGround();
  const place = { cwd: own.directory, env: own.env };
  await rm(own.config.pkcs11PinFile);
  const { exitCode, stderr } = await chancery(["serve"], place);
  expect({ exitCode, stderr }).toEqual({
    exitCode: 1,
    stderr: expect.stringContaining(`CHANCERY_PKCS11_PIN_FILE ${own.config.pkcs11PinFile} cannot be read`),
  });
});
