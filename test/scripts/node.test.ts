import { expect, test } from "vitest";

test("the tests run under the pinned Node, 24 or newer, whatever Node the machine has (NPM-12)", () => {
  expect(Number(process.versions.node.split(".")[0])).toBeGreaterThanOrEqual(24);
});
