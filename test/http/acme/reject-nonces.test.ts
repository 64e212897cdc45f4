import { expect, test } from "vitest";
import { rejectNonces } from "../../../src/http/acme/reject-nonces.ts";

test.for([0, 1, 20, 33, 50])("of a hundred good nonces of one client %i are refused, evenly and never two running", (percent) => {
  const rejects = rejectNonces(percent);
  const refused = Array.from({ length: 100 }, () => rejects({ id: "a" }));
  expect(refused.filter(Boolean)).toHaveLength(percent);
  expect(refused.some((each, index) => each && refused[index + 1])).toBe(false);
});

test("what one client is refused is not counted for another", () => {
  const rejects = rejectNonces(50);
  expect([rejects({ id: "a" }), rejects({ id: "b" }), rejects({ id: "a" }), rejects({ id: "b" })]).toEqual([false, false, true, true]);
});
