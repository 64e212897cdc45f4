import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Principal } from "../../src/access/principal.ts";
import { openAccess } from "../../src/access/token.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { recordedEvents } from "../support/events.ts";
import { seeded } from "../support/random.ts";
import { freshGround, type Ground } from "../support/service.ts";
import { chanceryProcess, freePorts } from "./command-line.ts";
import { clockOf } from "../support/clock.ts";

const dayMs = 86_400_000;
const system: Principal = { id: "system", namespace: "/", role: "admin" };
const random = seeded(11);

let ground: Ground;
beforeAll(async () => {
  const [tls, status, ops] = await freePorts(3);
  ground = await freshGround({
    CHANCERY_LISTEN: `127.0.0.1:${tls}`,
    CHANCERY_STATUS_LISTEN: `127.0.0.1:${status}`,
    CHANCERY_OPS_LISTEN: `127.0.0.1:${ops}`,
  });
});
afterAll(() => ground[Symbol.asyncDispose]());

/** A token of 40 days' life that ends in so many days from now. */
async function tokenEndingIn(days: number, { revoked = false } = {}): Promise<string> {
  const expiresAt = new Date(Date.now() + days * dayMs + 60_000);
  const clock = clockOf(() => new Date(expiresAt.getTime() - 40 * dayMs));
  await using database = await openDatabase({ url: ground.databaseUrl }, { events: recordedEvents() });
  const access = openAccess({ database, clock, random, node: "n" });
  const { id, token } = await access.createToken(system, { role: "admin", namespace: "/", expiresAt });
  if (revoked) await access.revokeToken(system, id);
  return token;
}

const lately = expect.stringMatching(/is valid for 29 more days: `npx chancery token recover`/);
const over = expect.stringMatching(/holds no token that is valid: `npx chancery token recover`/);

test.for([
  { name: "in 30 days", text: () => tokenEndingIn(30), verdict: "ok", detail: expect.stringMatching(/valid for 30 more days$/) },
  { name: "in less than 30 days", text: () => tokenEndingIn(29), verdict: "warning", detail: lately },
  { name: "a day ago", text: () => tokenEndingIn(-1), verdict: "warning", detail: over },
  { name: "by revocation", text: () => tokenEndingIn(30, { revoked: true }), verdict: "warning", detail: over },
  { name: "never, being none", text: () => Promise.resolve("1234"), verdict: "warning", detail: over },
])(
  "doctor looks at the admin token that ends $name: $verdict, naming the command that writes another",
  async ({ text, verdict, detail }) => {
    await writeFile(join(ground.directory, "admin.token"), await text(), { mode: 0o600 });
    const { exitCode, stdout } = await chanceryProcess(["doctor", "--json"], { cwd: ground.directory, env: ground.env });
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout).checks).toContainEqual({ check: "admin token", verdict, detail });
  },
);
