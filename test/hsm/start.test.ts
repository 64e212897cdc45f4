import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

import { listTokens } from "../../src/hsm/token.ts";
import { shimAvailable, shimmed } from "../support/shim.ts";
import { freshToken } from "../support/token.ts";
import { bindingText, childProcesses, newKey, openToken } from "./signing-token.ts";

test("a path that is no module refuses the start and names the option (PF-1)", async () => {
  await using token = await freshToken();
  for (const module of ["/no/such/module.so", token.softHsmConf]) {
    await expect(openToken(token, { module })).rejects.toMatchObject({
      code: "refusedToStart",
      detail: expect.stringContaining("CHANCERY_PKCS11_MODULE"),
    });
  }
  await expect(listTokens({ module: "/no/such/module.so" })).rejects.toMatchObject({ code: "refusedToStart" });
});

test("a label that no token has refuses the start and lists what was found (PK-7)", async () => {
  await using token = await freshToken("issuing");
  const missing = openToken({ ...token, label: "root" });
  await expect(missing).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringMatching(/"root".*"issuing" \(serial [0-9a-f]+\).*CHANCERY_PKCS11_TOKEN/),
  });
});

test("a token describes itself as it was initialised (PT-29)", async () => {
  await using token = await freshToken("a label of 32 characters, really");
  const [described, ...others] = (await listTokens(token)).filter(({ initialised }) => initialised);
  expect(others).toEqual([]);
  expect(described).toMatchObject({
    label: token.label,
    userPinInitialised: true,
    userPinLocked: false,
    manufacturer: expect.stringContaining("SoftHSM"),
  });
});

test("a wrong PIN refuses the start and names the file it came from (PF-2)", async () => {
  await using token = await freshToken();
  await expect(openToken(token, { pin: "000000" })).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringMatching(/CKR_PIN_INCORRECT.*CHANCERY_PKCS11_PIN_FILE/),
  });
});

test.runIf(shimAvailable)(
  "a wrong PIN is tried once a start, and the last try is never spent (PK-9)",
  async () => {
    await using token = await freshToken();
    const shim = shimmed(token);
    const tries = 5;
    shim.fault({ function: "C_Login", fault: "tries", argument: tries });
    const details: string[] = [];
    for (let start = 1; start <= 20; start += 1) {
      const before = shim.calls("C_Login").length;
      await openToken(token, { module: shim.module, pin: "000000" }).catch((error: Error) => details.push(error.message));
      expect(shim.calls("C_Login").length - before, `start ${start}`).toBeLessThanOrEqual(1);
    }
    expect(details.length).toBe(20);
    expect(details.at(-1)).toContain("one try of the PIN left");
    expect(shim.calls("C_Login").map(({ result }) => result)).toEqual(Array(tries - 1).fill(0xa0));
    // Once an operator has logged in elsewhere, the right PIN opens the token.
    shim.fault();
    await using open = await openToken(token, { module: shim.module });
    await newKey(open.hsm);
  },
  120_000,
);

test.runIf(shimAvailable)("a PIN that is refused to a later host ends the respawning: no host logs in again (PK-9)", async () => {
  await using token = await freshToken();
  const shim = shimmed(token);
  await using open = await openToken(token, { module: shim.module, deadlineMs: 3000 });
  const key = await newKey(open.hsm);
  shim.fault({ function: "C_Login", fault: "return", argument: 0xa0 });
  const logins = shim.calls("C_Login").length;
  for (const { pid, command } of await childProcesses()) if (command.includes("host.ts")) process.kill(pid, "SIGKILL");
  await expect(open.hsm.sign(key.reference, "binding", bindingText(1))).rejects.toMatchObject({ code: "hsmUnavailable" });
  await expect(open.hsm.sign(key.reference, "binding", bindingText(2))).rejects.toMatchObject({
    detail: expect.stringContaining("CKR_PIN_INCORRECT"),
  });
  expect(open.hsm.health()).toMatchObject({ ready: false, detail: expect.stringContaining("PIN file") });
  expect(shim.calls("C_Login").length).toBe(logins + 1);
});

test.runIf(shimAvailable)("CKR_GENERAL_ERROR at the start is another process at work: tried again, then believed (PK-6)", async () => {
  await using token = await freshToken();
  const shim = shimmed(token);
  for (const name of ["C_Login", "C_GetTokenInfo", "C_OpenSession"] as const) {
    shim.fault({ function: name, fault: "return", argument: 0x05, times: 3 });
    await using open = await openToken(token, { module: shim.module });
    expect(open.hsm.health().sessions, name).toBe(4);
  }
  shim.fault({ function: "C_Login", fault: "return", argument: 0x05 });
  await expect(openToken(token, { module: shim.module })).rejects.toMatchObject({
    code: "refusedToStart",
    detail: expect.stringContaining("CKR_GENERAL_ERROR"),
  });
});

test("six hosts that start on one token at once are all ready, and sign (PK-6)", async () => {
  await using token = await freshToken();
  await using first = await openToken(token);
  const key = await newKey(first.hsm);
  await using stack = new AsyncDisposableStack();
  const hosts = await Promise.all(Array.from({ length: 6 }, () => openToken(token)));
  for (const host of hosts) stack.use(host);
  const signatures = await Promise.all(
    hosts.flatMap(({ hsm }) => Array.from({ length: 20 }, (_, index) => hsm.sign(key.reference, "binding", bindingText(index)))),
  );
  expect(signatures.length).toBe(120);
});

test("the PIN and our own environment are not to be read from outside the host (PK-9, S-44)", async () => {
  await using token = await freshToken();
  process.env["DATABASE_URL_OF_THE_TEST"] = "postgres://secret@localhost/";
  await using open = await openToken(token);
  const key = await newKey(open.hsm);
  await open.hsm.sign(key.reference, "binding", bindingText(1));
  delete process.env["DATABASE_URL_OF_THE_TEST"];
  const hosts = (await childProcesses()).filter(({ command }) => command.includes("host.ts"));
  expect(hosts.length).toBe(1);
  for (const { pid, command } of hosts) {
    const environment = await readFile(`/proc/${pid}/environ`, "utf8");
    const names = environment
      .split("\0")
      .filter(Boolean)
      .map((entry) => entry.slice(0, entry.indexOf("=")));
    expect(`${command}${environment}`).not.toContain(token.pin);
    expect(names.toSorted()).toEqual(
      [...new Set([...names.filter((name) => ["HOME", "LANG", "LD_LIBRARY_PATH", "PATH"].includes(name)), ...allowed])].toSorted(),
    );
    expect(command).toContain("--disallow-code-generation-from-strings --disable-proto=throw");
  }
});

const allowed = ["NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "SOFTHSM2_CONF", "UV_THREADPOOL_SIZE"];

test("this process has never mapped the module or its binding, however much was signed (PK-1)", async () => {
  await using token = await freshToken();
  await using open = await openToken(token);
  const key = await newKey(open.hsm);
  await Promise.all(Array.from({ length: 50 }, (_, index) => open.hsm.sign(key.reference, "binding", bindingText(index))));
  expect(await readFile("/proc/self/maps", "utf8")).not.toMatch(/softhsm|pkcs11/i);
  const [host] = (await childProcesses()).filter(({ command }) => command.includes("host.ts"));
  if (!host) throw new Error("no host runs");
  expect(await readFile(`/proc/${host.pid}/maps`, "utf8")).toMatch(/pkcs11\.node/);
});
