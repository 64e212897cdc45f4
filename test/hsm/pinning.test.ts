import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { shimAvailable, shimmed } from "../support/shim.ts";
import type { Shim } from "../support/shim.ts";
import { freshToken } from "../support/token.ts";
import type { FreshToken } from "../support/token.ts";
import { newKey, openToken } from "./signing-token.ts";
import type { SigningKey } from "./signing-token.ts";

describe.runIf(shimAvailable)("a slow module under garbage collection", () => {
  let token: FreshToken;
  let shim: Shim;
  let key: SigningKey;
  beforeAll(async () => {
    token = await freshToken();
    shim = shimmed(token);
    await using open = await openToken(token);
    key = await newKey(open.hsm);
  });
  afterAll(() => token?.[Symbol.asyncDispose]());

  async function run(
    caller: "host" | "unpinned",
    { latency, sessions, count }: { latency: number; sessions: number; count: number },
  ): Promise<unknown> {
    shim.fault({ function: "C_Sign", fault: "latency", argument: latency });
    const program = fileURLToPath(new URL("sign-under-collection.ts", import.meta.url));
    const { ckaId } = key.reference;
    const settings = {
      module: shim.module,
      token: token.label,
      ckaId,
      spki: Buffer.from(key.spki).toString("base64"),
      sessions,
      count,
      caller,
    };
    const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", program, JSON.stringify(settings)], {
      env: { ...process.env, SOFTHSM2_CONF: token.softHsmConf, UV_THREADPOOL_SIZE: String(sessions + 4), PIN: token.pin },
    });
    return JSON.parse(stdout);
  }

  test("a caller that leaves the input to the binding gets signatures over other bytes (PT-1)", async () => {
    const { wrong } = Object(await run("unpinned", { latency: 20, sessions: 64, count: 1000 }));
    expect(wrong).toBeGreaterThan(0);
  }, 120_000);

  test.for([
    { latency: 1, sessions: 16, count: 3000 },
    { latency: 20, sessions: 64, count: 7000 },
  ])(
    "of $count signatures delayed $latency ms each, the host makes none over other bytes (PK-20, PS-1)",
    { timeout: 120_000 },
    async ({ latency, sessions, count }) => {
      expect(await run("host", { latency, sessions, count })).toEqual({ count, wrong: 0, pinned: 0 });
    },
  );
});
