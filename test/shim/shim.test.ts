import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { listTokens } from "../../src/hsm/token.ts";
import { verificationKey, verifySignature } from "../../src/pki/algorithm.ts";
import { bindingText, newKey, openToken, type OpenHsm, type SigningKey } from "../hsm/signing-token.ts";
import { shimAvailable, type Shim, shimmed } from "../support/shim.ts";
import { freshToken, type FreshToken } from "../support/token.ts";

/** What the shim can do, each ability by itself: a test that survives a fault shows nothing unless the fault bites. */
describe.runIf(shimAvailable)("the shim in front of the module", () => {
  let token: FreshToken;
  let shim: Shim;
  let open: OpenHsm;
  let key: SigningKey;
  let other: SigningKey;
  let texts = 0;
  beforeAll(async () => {
    token = await freshToken();
    shim = shimmed(token);
    open = await openToken(token, { module: shim.module });
    key = await newKey(open.hsm);
    other = await newKey(open.hsm, { name: "other" });
  });
  afterEach(() => shim.fault());
  afterAll(async () => {
    await open?.[Symbol.asyncDispose]();
    await token?.[Symbol.asyncDispose]();
  });

  const sign = async () => {
    const text = bindingText((texts += 1));
    return { text, signature: await open.hsm.sign(key.reference, "binding", text) };
  };
  const verifies = ({ verification }: SigningKey, { text, signature }: Awaited<ReturnType<typeof sign>>) =>
    verifySignature(verification, "ecdsa-with-SHA256", text, signature);

  // A lower bound of a wait that is asked for holds on any machine.
  test.for([
    { name: "C_Sign", act: sign },
    { name: "C_SignInit", act: sign },
    { name: "C_FindObjectsInit", act: () => open.hsm.find(key.reference.ckaId) },
    { name: "C_GenerateKeyPair", act: () => newKey(open.hsm, { name: "delayed" }) },
  ] as const)("delays $name by the time that is asked for (PS-1)", async ({ name, act }) => {
    shim.fault({ function: name, fault: "latency", argument: 200, times: 1 });
    const startedAt = performance.now();
    await act();
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(200);
  });

  test("draws delays, so that answers overtake each other (PS-1)", async () => {
    shim.fault({ function: "C_Sign", fault: "drawn", argument: 50 });
    const order: number[] = [];
    await Promise.all(Array.from({ length: 40 }, (_, index) => sign().then(() => order.push(index))));
    expect(order).not.toEqual(order.toSorted((a, b) => a - b));
  });

  test("gives signatures with a flipped bit, of zeros, and of another key; none verifies (PS-3)", async () => {
    shim.fault({ function: "C_Sign", fault: "flip", argument: 9 });
    expect(await verifies(key, await sign())).toBe(false);
    shim.fault({ function: "C_Sign", fault: "zeros" });
    expect(await verifies(key, await sign())).toBe(false);

    shim.fault({ function: "C_SignInit", fault: "other" });
    const foreign = await sign();
    expect(await verifies(key, foreign)).toBe(false);
    const all = [other, ...(await foreignKeys())];
    expect(await Promise.all(all.map((candidate) => verifies(candidate, foreign)))).toContain(true);
    shim.fault();
    expect(await verifies(key, await sign())).toBe(true);
  });

  /** Keys that the tests before this one made. */
  const foreignKeys = async (): Promise<SigningKey[]> => {
    const ids = (await open.hsm.list()).filter((id) => id !== key.reference.ckaId && id !== other.reference.ckaId);
    const found = await Promise.all(ids.map((id) => open.hsm.read(id)));
    return found.flatMap((pair) => (pair ? [{ ...other, spki: pair.spki, verification: verificationKey(pair.spki) }] : []));
  };

  test("locks the PIN after so many wrong ones, shows the flags before it, and counts each C_Login (PS-4)", async () => {
    const flags = async () => {
      const found = (await listTokens({ module: shim.module, softHsmConf: token.softHsmConf })).find(({ label }) => label === token.label);
      return [found?.userPinCountLow, found?.userPinFinalTry, found?.userPinLocked];
    };
    shim.fault({ function: "C_Login", fault: "tries", argument: 2 });
    expect(await flags()).toEqual([false, false, false]);
    const logins = shim.calls("C_Login").length;
    await expect(openToken(token, { module: shim.module, pin: "000000" })).rejects.toMatchObject({ code: "refusedToStart" });
    expect(shim.calls("C_Login").slice(logins)).toMatchObject([{ result: 0xa0 }]);
    expect(await flags()).toEqual([true, true, false]);
    shim.fault({ function: "C_Login", fault: "tries", argument: 1 });
    expect(await flags()).toEqual([true, false, true]);
    shim.fault({ function: "C_Login", fault: "return", argument: 0xa4 });
    await expect(openToken(token, { module: shim.module })).rejects.toMatchObject({ detail: expect.stringContaining("CKR_PIN_LOCKED") });
  });

  test("hangs for the time that is asked for and then answers (PS-6)", async () => {
    shim.fault({ function: "C_Sign", fault: "hang", argument: 200, times: 1 });
    const startedAt = performance.now();
    expect(await verifies(key, await sign())).toBe(true);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(200);
  });

  test.for([
    { name: "hangs for ever, in a call beside the event loop", fault: { function: "C_Sign", fault: "hang" }, ends: /hangs in the module/ },
    { name: "hangs for ever, in a synchronous call", fault: { function: "C_SignInit", fault: "hang" }, ends: /hangs in the module/ },
    { name: "aborts", fault: { function: "C_Sign", fault: "abort" }, ends: /SIGABRT/ },
    { name: "reads where it may not", fault: { function: "C_Sign", fault: "crash" }, ends: /SIGSEGV/ },
  ] as const)("$name: its host ends, and the next one signs (PS-6)", async ({ fault, ends }) => {
    await using own = await openToken(token, { module: shim.module, deadlineMs: 500 });
    shim.fault({ ...fault, times: 1 });
    await own.hsm.sign(key.reference, "binding", bindingText("ends")).catch(() => {});
    await expect
      .poll(() => own.events.told.filter(({ event }) => event === "hsm.host.ended").map(({ fields }) => String(fields["cause"])), {
        timeout: 20_000,
      })
      .toEqual([expect.stringMatching(ends)]);
    await expect
      .poll(() => own.hsm.sign(key.reference, "binding", bindingText("next")).then(String, String), { timeout: 20_000 })
      .not.toContain("Fault");
  });

  test("logs each C_Sign: time, key, mechanism, the input's SHA-256 and the return value (PS-8)", async () => {
    const before = shim.calls("C_Sign").length;
    const from = Date.now();
    const { text } = await sign();
    const to = Date.now();
    shim.fault({ function: "C_Sign", fault: "return", argument: 0x70, times: 1 });
    await expect(sign()).rejects.toMatchObject({ code: "internal" });
    const [done, refused, ...others] = shim.calls("C_Sign").slice(before);
    const ckmEcdsa = 0x1041;
    const input = createHash("sha256").update(text).digest("hex");
    expect(done).toMatchObject({ key: key.reference.ckaId, mechanism: ckmEcdsa, input, result: 0 });
    expect([done?.time, from, to].toSorted((a, b) => (a ?? 0) - (b ?? 0))).toEqual([from, done?.time, to]);
    expect([refused?.result, others]).toEqual([0x70, []]);
  });
});
