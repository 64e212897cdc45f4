import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { outcomeOf, readFrame } from "../../src/net/frame.ts";

const evidence = { addresses: ["192.0.2.1"], urls: [], resolver: "192.0.2.53" };
const answer = { status: 200, body: new Uint8Array(256), truncated: false };

describe("frames of the child are taken", () => {
  test.for([
    { frame: "opened" },
    { frame: "outcome", id: 1, outcome: { evidence, answer } },
    { frame: "outcome", id: 1, outcome: { evidence: { ...evidence, address: "192.0.2.1" }, answer: { records: ["text"] } } },
    { frame: "outcome", id: 1, outcome: { evidence, answer: { protocol: undefined, certificate: new Uint8Array(1000) } } },
    { frame: "outcome", id: 1, outcome: { evidence, failure: { kind: "dns", detail: "no", final: true } } },
    { frame: "unavailable", id: 2, detail: "away" },
    { frame: "failed", where: "TypeError at read (dns-message.ts:1:1)" },
    { frame: "refused", host: "example.org", address: "127.0.0.1", class: "loopback" },
  ])("%j", (frame) => expect(readFrame(frame)).toEqual(frame));
});

describe("what no child of ours sends is taken for no frame", () => {
  test.for<{ name: string; message: unknown }>([
    { name: "nothing", message: undefined },
    { name: "another frame", message: { frame: "open" } },
    { name: "a member too many", message: { frame: "opened", policy: {} } },
    { name: "no id", message: { frame: "outcome", outcome: { evidence, answer } } },
    {
      name: "answer and failure",
      message: { frame: "outcome", id: 1, outcome: { evidence, answer, failure: { kind: "dns", detail: "", final: true } } },
    },
    { name: "neither", message: { frame: "outcome", id: 1, outcome: { evidence } } },
    { name: "257 octets", message: { frame: "outcome", id: 1, outcome: { evidence, answer: { ...answer, body: new Uint8Array(257) } } } },
    { name: "a body of text", message: { frame: "outcome", id: 1, outcome: { evidence, answer: { ...answer, body: "text" } } } },
    { name: "a detail of 8,193 characters", message: { frame: "unavailable", id: 1, detail: "x".repeat(8193) } },
  ])("$name", ({ message }) => expect(readFrame(message)).toBeUndefined());

  test("any value at all, without a throw", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        readFrame(value);
        readFrame({ frame: "outcome", id: 1, outcome: value });
        readFrame({ frame: "outcome", id: 1, outcome: { evidence, answer: value } });
      }),
      { numRuns: 2000 },
    );
  });
});

test("the answer to one kind of question is none to another", () => {
  expect(outcomeOf("http", { evidence, answer })).toEqual({ evidence, answer });
  expect(outcomeOf("txt", { evidence, answer })).toBeUndefined();
  expect(outcomeOf("tlsAlpn", { evidence, answer: { records: [] } })).toBeUndefined();
  const failure = { kind: "tls", detail: "no", final: false } as const;
  expect(outcomeOf("txt", { evidence, failure })).toEqual({ evidence, failure });
});
