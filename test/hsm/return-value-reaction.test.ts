import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { verifySignature } from "../../src/pki/algorithm.ts";
import { shimAvailable, shimmed } from "../support/shim.ts";
import type { Shim } from "../support/shim.ts";
import { freshToken } from "../support/token.ts";
import type { FreshToken } from "../support/token.ts";
import { bindingText, newKey, openToken, until } from "./signing-token.ts";
import type { OpenHsm, SigningKey } from "./signing-token.ts";

describe.runIf(shimAvailable)("what a return value of the module leads to", () => {
  let token: FreshToken;
  let shim: Shim;
  let open: OpenHsm;
  let key: SigningKey;
  let texts = 0;

  beforeAll(async () => {
    token = await freshToken();
    shim = shimmed(token);
    open = await openToken(token, { module: shim.module });
    key = await newKey(open.hsm);
  });
  afterEach(() => shim.fault());
  afterAll(async () => {
    await open?.[Symbol.asyncDispose]();
    await token?.[Symbol.asyncDispose]();
  });

  /** Signs a new text; whether the signature verifies, or the code of the fault. */
  async function outcome(): Promise<string> {
    const text = bindingText((texts += 1));
    try {
      return (await verifySignature(key.verification, "ecdsa-with-SHA256", text, await open.hsm.sign(key.reference, "binding", text)))
        ? "signed"
        : "corrupt";
    } catch (error) {
      return error instanceof Error && "code" in error ? String(error.code) : String(error);
    }
  }

  const hostsStarted = (): number => open.events.told.filter(({ event }) => event === "hsm.host.started").length;

  test.for([
    { name: "CKR_USER_NOT_LOGGED_IN", code: 0x101, row: "PF-5" },
    { name: "CKR_HOST_MEMORY", code: 0x02, row: "PF-5" },
    { name: "CKR_SESSION_HANDLE_INVALID", code: 0xb3, row: "PF-6" },
    { name: "CKR_SESSION_CLOSED", code: 0xb0, row: "PF-6" },
    { name: "CKR_OPERATION_ACTIVE", code: 0x90, row: "PF-7" },
    { name: "CKR_OBJECT_HANDLE_INVALID", code: 0x82, row: "PF-8" },
    { name: "CKR_KEY_HANDLE_INVALID", code: 0x60, row: "PF-8" },
  ])("$name costs a session: the caller notices nothing, the host stays ($row)", async ({ code }) => {
    const hosts = hostsStarted();
    for (const call of ["C_SignInit", "C_Sign"] as const) {
      shim.fault({ function: call, fault: "return", argument: code, times: 1 });
      expect([await outcome(), await outcome()], call).toEqual(["signed", "signed"]);
    }
    expect(hostsStarted()).toBe(hosts);
  });

  test.for([
    { name: "CKR_CRYPTOKI_NOT_INITIALIZED", code: 0x190, row: "PF-9" },
    { name: "CKR_DEVICE_ERROR", code: 0x30, row: "PF-10" },
    { name: "CKR_DEVICE_REMOVED", code: 0x32, row: "PF-10" },
    { name: "CKR_TOKEN_NOT_PRESENT", code: 0xe0, row: "PF-10" },
    { name: "CKR_GENERAL_ERROR", code: 0x05, row: "PF-12" },
    { name: "CKR_FUNCTION_FAILED", code: 0x06, row: "PF-12" },
    { name: "a code of no standard", code: 0x8000_1234, row: "PF-23" },
  ])("$name costs a host: the caller has its signature from the next one ($row)", async ({ code }) => {
    const hosts = hostsStarted();
    shim.fault({ function: "C_Sign", fault: "return", argument: code, times: 1 });
    expect([await outcome(), await outcome()]).toEqual(["signed", "signed"]);
    expect(hostsStarted()).toBe(hosts + 1);
  });

  test.for([
    { name: "CKR_BUFFER_TOO_SMALL", code: 0x150, row: "PF-18" },
    { name: "CKR_MECHANISM_INVALID", code: 0x70, row: "PF-19" },
    { name: "CKR_MECHANISM_PARAM_INVALID", code: 0x71, row: "PF-19" },
    { name: "CKR_ARGUMENTS_BAD", code: 0x07, row: "PF-19" },
    { name: "CKR_KEY_FUNCTION_NOT_PERMITTED", code: 0x68, row: "PF-20" },
    { name: "CKR_KEY_UNEXTRACTABLE", code: 0x6a, row: "PF-21" },
    { name: "CKR_ACTION_PROHIBITED", code: 0x1b, row: "PF-22" },
  ])("$name fails the call and nothing else: it is not tried again ($row)", async ({ code }) => {
    const hosts = hostsStarted();
    const signed = shim.calls("C_Sign").length;
    shim.fault({ function: "C_Sign", fault: "return", argument: code, times: 1 });
    expect([await outcome(), await outcome()]).toEqual(["internal", "signed"]);
    expect(shim.calls("C_Sign").length).toBe(signed + 2);
    expect(hostsStarted()).toBe(hosts);
  });

  test("no session is used again after an error: the token never answers CKR_OPERATION_ACTIVE by itself (PK-22)", () => {
    const byFault = 1;
    expect(shim.calls("C_Sign").filter(({ result }) => result === 0x90).length).toBeLessThanOrEqual(byFault);
    const failed = shim.calls().filter(({ function: name, result }) => name === "C_FindObjectsInit" && result !== 0);
    expect(failed).toEqual([]);
  });

  test("an answer that was lost after signing leads to a second signature over the same bytes (PF-15)", async () => {
    const signed = shim.calls("C_Sign").length;
    shim.fault({ function: "C_Sign", fault: "lost", argument: 0x30, times: 1 });
    expect(await outcome()).toBe("signed");
    const [first, second, ...others] = shim.calls("C_Sign").slice(signed);
    expect(first?.input).toBe(second?.input);
    expect([first?.result, second?.result, others]).toEqual([0, 0, []]);
  });

  test.for(["abort", "crash"] as const)("a module that ends by %s takes its host, not the call (PF-14, PS-6)", async (fault) => {
    shim.fault({ function: "C_Sign", fault, times: 1 });
    expect([await outcome(), await outcome()]).toEqual(["signed", "signed"]);
  });

  test("a token that flips bits is caught by every verification, and one that writes zeros too (PF-16)", async () => {
    shim.fault({ function: "C_Sign", fault: "flip", argument: 137 });
    const flipped = await Promise.all(Array.from({ length: 500 }, outcome));
    shim.fault({ function: "C_Sign", fault: "zeros" });
    const zeros = await outcome();
    shim.fault();
    expect([new Set(flipped), zeros, await outcome()]).toEqual([new Set(["corrupt"]), "corrupt", "signed"]);
  });

  test("handles are found once a key, not once a signature (PK-25)", async () => {
    const other = await newKey(open.hsm, { name: "other" });
    const finds = shim.calls("C_FindObjectsInit").length;
    // The first use of a key finds its two halves.
    await Promise.all(
      Array.from({ length: 1000 }, (_, index) => open.hsm.sign((index % 2 ? key : other).reference, "binding", bindingText(index))),
    );
    expect(shim.calls("C_FindObjectsInit").length - finds).toBeLessThanOrEqual(4);
  });

  test("a token with fewer sessions than wanted serves with those it has, and says so (PK-27)", async () => {
    shim.fault({ function: "C_OpenSession", fault: "limit", argument: 4 });
    await using few = await openToken(token, { module: shim.module, sessions: 8 });
    shim.fault();
    expect(few.hsm.health().sessions).toBeLessThan(8);
    expect(few.events.told).toContainEqual(expect.objectContaining({ level: "warn", event: "hsm.sessions.reduced" }));
    await Promise.all(Array.from({ length: 20 }, (_, index) => few.hsm.sign(key.reference, "binding", bindingText(index))));
  });

  test("a dead device opens the breaker, which answers at once and closes when the device is back (PK-42)", async () => {
    shim.fault({ function: "C_Sign", fault: "return", argument: 0x30 });
    const first = await Promise.all(Array.from({ length: 4 }, outcome));
    expect(new Set(first)).toEqual(new Set(["hsmUnavailable"]));
    await until(async () => (await outcome()) === "hsmUnavailable" && open.events.told.at(-1)?.event === "hsm.breaker.opened");
    const reached = shim.calls("C_Sign").length;
    expect(await Promise.all(Array.from({ length: 100 }, outcome))).toEqual(Array(100).fill("hsmUnavailable"));
    expect(shim.calls("C_Sign").length - reached).toBeLessThanOrEqual(2);
    expect(open.hsm.health()).toMatchObject({ ready: false, detail: expect.stringContaining("three times") });
    shim.fault();
    await until(async () => (await outcome()) === "signed");
    expect(open.events.told.some(({ event }) => event === "hsm.breaker.closed")).toBe(true);
    expect(await outcome()).toBe("signed");
  });
});
