import { expect, test } from "vitest";
import { fixedPeers, matrixTable, newMatrix, silentPeers } from "../conformance/matrix.ts";

test("a run without one of the fixed peers is not taken for a complete one", async () => {
  const matrix = newMatrix(() => undefined);
  for (const peer of fixedPeers)
    if (peer !== "java") await matrix.check({ subject: "server P-256", peer, check: "accepted" }, async () => undefined);
  expect(silentPeers(matrix.outcomes, fixedPeers)).toEqual(["java"]);
  await matrix.check({ subject: "server P-256", peer: "java", check: "accepted" }, async () => undefined);
  expect(silentPeers(matrix.outcomes, fixedPeers)).toEqual([]);
});

test.for([
  { name: "what a judge says", judge: async () => "other bytes", complaint: "other bytes" },
  { name: "what a judge throws", judge: () => Promise.reject(new Error("no answer")), complaint: "no answer" },
])("$name is a failure: told at once, and counted in the table", async ({ judge, complaint }) => {
  const told: string[] = [];
  const matrix = newMatrix((line) => told.push(line));
  const where = { subject: "server P-256", peer: "openssl", check: "accepted" } as const;
  await matrix.check(where, judge);
  await matrix.check(where, async () => undefined);
  expect(told).toEqual([expect.stringContaining(complaint)]);
  expect(matrixTable(matrix.outcomes)).toContain("1 of 2 FAILED");
});
