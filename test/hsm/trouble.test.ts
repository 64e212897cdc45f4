import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

import { shimAvailable, shimmed } from "../support/shim.ts";
import { freshToken } from "../support/token.ts";
import { bindingText, childProcesses, newKey, openToken, until } from "./signing-token.ts";

/** Process ids of the hosts that this process started. */
async function hostPids(): Promise<number[]> {
  return (await childProcesses()).filter(({ command }) => command.includes("host.ts")).map(({ pid }) => pid);
}

test("a host killed under 200 signatures is replaced, and none of them fails (PF-14, PK-12)", async () => {
  await using token = await freshToken();
  await using open = await openToken(token);
  const key = await newKey(open.hsm);
  const hosts = await hostPids();
  const signatures = Array.from({ length: 200 }, (_, index) => open.hsm.sign(key.reference, "binding", bindingText(index)));
  await signatures[10];
  for (const pid of hosts) process.kill(pid, "SIGKILL");
  expect((await Promise.all(signatures)).length).toBe(200);
  expect(open.events.told.filter(({ event }) => event === "hsm.host.started").length).toBe(2);
});

test("SIGINT and SIGTERM to the whole group end no host: 200 signatures under way lose none (PK-14)", async () => {
  await using token = await freshToken();
  await using open = await openToken(token);
  const key = await newKey(open.hsm);
  const hosts = await hostPids();
  const signatures = Array.from({ length: 200 }, (_, index) => open.hsm.sign(key.reference, "binding", bindingText(index)));
  await signatures[10];
  for (const pid of hosts) for (const signal of ["SIGINT", "SIGTERM"] as const) process.kill(pid, signal);
  expect((await Promise.all(signatures)).length).toBe(200);
  expect(open.events.told.filter(({ event }) => event === "hsm.host.started").length).toBe(1);
});

test("closing drains what waits, takes nothing new, and leaves no process (PK-43)", async () => {
  await using token = await freshToken();
  const open = await openToken(token);
  const key = await newKey(open.hsm);
  const signatures = Array.from({ length: 100 }, (_, index) => open.hsm.sign(key.reference, "binding", bindingText(index)));
  const closed = open.hsm[Symbol.asyncDispose]();
  await expect(open.hsm.sign(key.reference, "binding", bindingText("late"))).rejects.toMatchObject({ code: "hsmUnavailable" });
  expect((await Promise.all(signatures)).length).toBe(100);
  await closed;
  expect(await hostPids()).toEqual([]);
});

test("no host outlives a parent that was killed (PK-13)", async () => {
  await using token = await freshToken();
  const program = fileURLToPath(new URL("hold-token.ts", import.meta.url));
  const parent = spawn(
    process.execPath,
    [program, JSON.stringify({ module: token.module, token: token.label, softHsmConf: token.softHsmConf })],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  parent.stdin.end(token.pin);
  const printed = await new Promise<string>((resolve) => parent.stdout.once("data", (data: Buffer) => resolve(data.toString())));
  const host = Number(printed);
  expect(host).toBeGreaterThan(0);
  parent.kill("SIGKILL");
  await until(() => {
    try {
      process.kill(host, 0);
      return false;
    } catch {
      return true;
    }
  });
});

test("a token whose directory is taken away is not ready, and is again when it is put back, without a new start (PK-40, PF-11)", async () => {
  await using token = await freshToken();
  await using open = await openToken(token, { deadlineMs: 1000 });
  const key = await newKey(open.hsm, { purposes: ["health", "binding"] });
  expect(open.hsm.health()).toMatchObject({ ready: false, detail: expect.stringContaining("no verified health signature") });
  open.hsm.watch(key.reference, key.spki);
  await until(() => open.hsm.health().ready);
  await open.hsm.sign(key.reference, "binding", bindingText("before"));

  await rename(join(token.directory, "tokens"), join(token.directory, "away"));
  await until(() => !open.hsm.health().ready);
  await expect(open.hsm.sign(key.reference, "binding", bindingText("away"))).rejects.toMatchObject({ code: "hsmUnavailable" });
  await rename(join(token.directory, "away"), join(token.directory, "tokens"));
  await until(() => open.hsm.health().ready);
  await open.hsm.sign(key.reference, "binding", bindingText("after"));
}, 60_000);

describe.runIf(shimAvailable)("with a module that fails on request", () => {
  test.for(["C_Sign", "C_SignInit"] as const)(
    "a hang inside %s costs one caller its deadline: the next signature succeeds (PK-12, PF-13, PS-6)",
    async (name) => {
      await using token = await freshToken();
      const shim = shimmed(token);
      await using open = await openToken(token, { module: shim.module, deadlineMs: 700 });
      const key = await newKey(open.hsm);
      shim.fault({ function: name, fault: "hang", argument: 0, times: 1 });
      await expect(open.hsm.sign(key.reference, "binding", bindingText(1))).rejects.toMatchObject({
        code: "hsmUnavailable",
        detail: expect.stringContaining("700 ms"),
      });
      await until(async () =>
        open.hsm.sign(key.reference, "binding", bindingText(2)).then(
          () => true,
          () => false,
        ),
      );
      expect(open.events.told.map(({ event }) => event)).toContain("hsm.deadline");
      await until(() =>
        open.events.told.some(({ event, fields }) => event === "hsm.host.ended" && fields["cause"] === "a call hangs in the module"),
      );
    },
  );

  test("calls beside a hung one are answered, those behind it by the next host (PF-13, PS-6)", async () => {
    await using token = await freshToken();
    const shim = shimmed(token);
    await using open = await openToken(token, { module: shim.module, deadlineMs: 1500, sessions: 2 });
    const key = await newKey(open.hsm);
    shim.fault({ function: "C_Sign", fault: "hang", argument: 0, times: 1 });
    const results = await Promise.allSettled(
      Array.from({ length: 50 }, (_, index) => open.hsm.sign(key.reference, "binding", bindingText(index))),
    );
    expect(results.filter(({ status }) => status === "rejected").length).toBe(1);
  });

  test("a request whose deadline passes while it waits is never signed; a full queue says so at once (PK-28)", async () => {
    await using token = await freshToken();
    const shim = shimmed(token);
    await using open = await openToken(token, { module: shim.module, deadlineMs: 1000, sessions: 1, queueLimit: 10 });
    const key = await newKey(open.hsm);
    shim.fault({ function: "C_Sign", fault: "latency", argument: 300 });
    const texts = Array.from({ length: 20 }, (_, index) => bindingText(`waits ${index}`));
    const results = await Promise.allSettled(texts.map((text) => open.hsm.sign(key.reference, "binding", text)));
    const codes = results.map((result) => (result.status === "fulfilled" ? "signed" : String(result.reason.code)));
    expect(codes.slice(11)).toEqual(Array(9).fill("busy"));
    expect(codes.slice(0, 11)).toContain("hsmUnavailable");
    shim.fault();
    // The last one may have been under way when its caller was answered; those behind it never reached the token.
    await until(async () =>
      open.hsm.sign(key.reference, "binding", bindingText("after")).then(
        () => true,
        () => false,
      ),
    );
    const inputs = new Set(shim.calls("C_Sign").map(({ input }) => input));
    const reached = texts.filter((text) => inputs.has(createHash("sha256").update(text).digest("hex"))).length;
    expect(reached).toBeLessThanOrEqual(codes.filter((code) => code === "signed").length + 1);
  });

  test("revocation status overtakes issuing that waits (PK-28)", async () => {
    await using token = await freshToken();
    const shim = shimmed(token);
    await using open = await openToken(token, { module: shim.module, sessions: 1 });
    const key = await newKey(open.hsm);
    shim.fault({ function: "C_Sign", fault: "latency", argument: 2 });
    const order: string[] = [];
    const sign = (name: string, priority: "status" | "background"): Promise<unknown> =>
      open.hsm.sign(key.reference, "binding", bindingText(name), priority).then(() => order.push(name));
    const background = Array.from({ length: 200 }, (_, index) => sign(`background ${index}`, "background"));
    await background[3];
    const before = order.length;
    await sign("status", "status");
    expect(order.indexOf("status") - before).toBeLessThanOrEqual(1);
    await Promise.all(background);
  });

  test("a health signature that does not verify is told, replaces the host, and does not count (PK-40, PF-16)", async () => {
    await using token = await freshToken();
    const shim = shimmed(token);
    await using open = await openToken(token, { module: shim.module });
    const key = await newKey(open.hsm);
    shim.fault({ function: "C_Sign", fault: "flip", argument: 3 });
    open.hsm.watch(key.reference, key.spki);
    await until(() => open.events.told.some(({ event }) => event === "signature.corrupt"));
    expect(open.hsm.health().ready).toBe(false);
    shim.fault();
    await until(() => open.hsm.health().ready);
  });

  test("a host that is complained of is replaced once, however many complain (PK-21)", async () => {
    await using token = await freshToken();
    await using open = await openToken(token);
    const key = await newKey(open.hsm);
    const [before] = await hostPids();
    await until(async () => {
      for (let complaint = 0; complaint < 20; complaint += 1) open.hsm.replaceHost("a signature does not verify");
      const pids = await hostPids();
      return pids.length === 1 && pids[0] !== before;
    });
    await open.hsm.sign(key.reference, "binding", bindingText(1));
    expect(open.events.told.filter(({ event }) => event === "hsm.host.started").length).toBe(2);
  });
});
