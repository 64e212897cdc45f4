import { expect, test } from "vitest";
import { requireNode } from "../../scripts/node.mjs";
import { makeCheckout } from "./checkout.ts";

test("the tests run under the pinned Node, 24 or newer, whatever Node the machine has (NPM-12)", () => {
  expect(Number(process.versions.node.split(".")[0])).toBeGreaterThanOrEqual(24);
});

test.for([
  { name: "none, and npm could not install one", installed: undefined, self: "20.20.2", found: undefined },
  { name: "an old one that npm installed", installed: "22.9.0", self: "20.20.2", found: undefined },
  { name: "the one npm installed", installed: "24.0.0", self: "20.20.2", found: "installed" },
  { name: "the one that runs the script", installed: undefined, self: "24.0.0", found: "self" },
  { name: "npm's before a newer one of the machine", installed: "24.0.0", self: "26.1.0", found: "installed" },
])("TypeScript runs under Node 24 or newer, else one sentence says what to do (NPM-4): $name", ({ installed, self, found }) => {
  using checkout = makeCheckout({ installed: false });
  const path = installed && checkout.write("node_modules/node/bin/node", `#!/bin/sh\necho ${installed}\n`, 0o755);
  const require = () => requireNode(checkout.root, { path: "self", version: self });
  if (found) expect(require()).toBe(found === "self" ? "self" : path);
  else expect(require).toThrow(`Node 24 or newer is needed; this is ${self} and npm could not install one: install Node 24 and run again`);
});
