import { expect, test } from "vitest";
import { limitPreviews } from "../../src/ca/preview-limit.ts";

test("two previews are counted at a time, the third is told to come again, and one that ends, or fails, leaves its place", async () => {
  const held = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const;
  const preview = limitPreviews((which: 0 | 1) => held[which].promise);
  const [first, second] = [preview(0), preview(1)];
  await expect(preview(0)).rejects.toMatchObject({ code: "busy" });
  held[0].resolve("counted");
  expect(await first).toBe("counted");
  expect(await preview(0)).toBe("counted");
  held[1].reject(new Error("failed"));
  await expect(second).rejects.toThrow("failed");
  expect(await Promise.all([preview(0), preview(0)])).toEqual(["counted", "counted"]);
});
