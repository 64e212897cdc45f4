import { expect, test } from "vitest";
import { openAdmission } from "../../../src/http/acme/overload.ts";

test("AN-4: with too much under way what begins something is refused first, then what goes on, last what ends it", () => {
  const admit = openAdmission();
  const held: Disposable[] = [];
  const fill = (sheds: Parameters<typeof admit>[0]) => {
    for (let one = admit(sheds); one; one = admit(sheds)) held.push(one);
    return held.length;
  };
  const [first, second, last] = [fill("first"), fill("second"), fill("last")];
  expect(first).toBeGreaterThan(256);
  expect(second).toBeGreaterThan(first);
  expect(last).toBeGreaterThan(second);
  expect(admit("last")).toBeUndefined();
  for (const one of held) one[Symbol.dispose]();
  expect(admit("first")).toBeDefined();
});
