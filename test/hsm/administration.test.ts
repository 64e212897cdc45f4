import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { FrameFromHost, FrameToHost, HostCall, Opening } from "../../src/hsm/frame.ts";
import { forkModuleProcess } from "../../src/hsm/host-process.ts";
import { freshToken } from "../support/token.ts";
import type { FreshToken } from "../support/token.ts";
import { newKey, openToken } from "./signing-token.ts";
import type { SigningKey } from "./signing-token.ts";

let token: FreshToken;
let key: SigningKey;
beforeAll(async () => {
  token = await freshToken();
  await using open = await openToken(token);
  key = await newKey(open.hsm);
});
afterAll(() => token[Symbol.asyncDispose]());

const specification = { ckaId: "7b".repeat(16), name: "new", algorithm: "P-256", purposes: ["binding"] } as const;

/** What a host answers to each frame, when these frames come over its channel, whoever sent them. */
async function answers(frames: readonly FrameToHost[]): Promise<FrameFromHost[]> {
  const host = await forkModuleProcess("host.ts", { softHsmConf: token.softHsmConf, threads: 8 });
  const received: FrameFromHost[] = [];
  host.on("message", (answered: readonly FrameFromHost[]) => received.push(...answered));
  const ended = once(host, "exit");
  for (const frame of frames) {
    host.send([frame]);
    await once(host, "message");
  }
  host.send([{ frame: "stop" } satisfies FrameToHost]);
  await ended;
  return received;
}

function opening(administration: boolean): FrameToHost {
  const { module, label, pin } = token;
  return { frame: "open", opening: { module, token: label, pin, sessions: 2, administration } satisfies Opening };
}

function call(id: number, act: HostCall): FrameToHost {
  return { frame: "call", id, call: act };
}

const destroy = (): HostCall => ({ act: "destroy", ckaId: key.reference.ckaId });

test("a host that was opened to sign refuses to generate and to destroy, and goes on signing (PK-62)", async () => {
  const bytes = Buffer.from("chancery binding\ntest\n");
  const [opened, generated, destroyed, signed, listed] = await answers([
    opening(false),
    call(1, { act: "generate", specification }),
    call(2, destroy()),
    call(3, { act: "sign", key: key.reference, purpose: "binding", bytes }),
    call(4, { act: "list" }),
  ]);
  expect(opened).toMatchObject({ frame: "opened" });
  expect(generated).toMatchObject({ id: 1, frame: "failure", failure: "refused", detail: expect.stringContaining("generate") });
  expect(destroyed).toMatchObject({ id: 2, frame: "failure", failure: "refused", detail: expect.stringContaining("destroy") });
  expect(signed).toMatchObject({ id: 3, frame: "answer" });
  expect(listed).toMatchObject({ id: 4, frame: "answer", answer: [key.reference.ckaId] });
});

test("a client says which of the two it is, and does not administer unless it is told to (PK-62)", async () => {
  await using signing = await openToken(token, { administration: false });
  expect(signing.hsm.administration).toBe(false);
  await expect(signing.hsm.generate(specification)).rejects.toMatchObject({ code: "internal" });
  await expect(signing.hsm.destroy(key.reference.ckaId)).rejects.toMatchObject({ code: "internal" });
  expect(await signing.hsm.list()).toEqual([key.reference.ckaId]);
  expect(signing.events.told.filter(({ event }) => event === "hsm.call.refused")).toHaveLength(2);
  await using administering = await openToken(token);
  expect(administering.hsm.administration).toBe(true);
});

test("no later frame turns a host that signs into one that administers (PK-62)", async () => {
  // The second opening is not answered: the answer that is awaited behind it is that of the call.
  const host = await forkModuleProcess("host.ts", { softHsmConf: token.softHsmConf, threads: 8 });
  const ended = once(host, "exit");
  host.send([opening(false)]);
  await once(host, "message");
  host.send([opening(true), call(1, destroy())]);
  const [[answer]] = await once(host, "message");
  expect(answer).toMatchObject({ id: 1, frame: "failure", failure: "refused" });
  host.send([{ frame: "stop" } satisfies FrameToHost]);
  await ended;
});
