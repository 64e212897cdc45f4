import { expect, test } from "vitest";
import { openProbe } from "../../src/net/attempt.ts";
import { mayBeTold } from "../../src/net/egress.ts";
import { lookupFailed } from "../../src/net/lookup-failure.ts";
import { toldResolver } from "../../src/net/reach.ts";
import { policyOf } from "./validator-world.ts";

test.for([
  { resolver: "10.0.0.53", allow: [], said: "the DNS resolver says" },
  { resolver: "fd00::53", allow: [], said: "the DNS resolver says" },
  { resolver: "10.0.0.53", allow: ["10.0.0.0/8"], said: "the DNS resolver 10.0.0.53 says" },
  { resolver: "9.9.9.9", allow: [], said: "the DNS resolver 9.9.9.9 says" },
  { resolver: "127.0.0.53", allow: [], said: "the DNS resolver 127.0.0.53 says" },
  { resolver: undefined, allow: [], said: "the DNS resolver says" },
])("with $resolver asked and $allow listed an applicant reads: $said", ({ resolver, allow, said }) => {
  const probe = openProbe("t", new AbortController().signal);
  if (resolver !== undefined) probe.trail.resolver = resolver;
  const told = toldResolver({ mayTell: (address) => mayBeTold(address, policyOf(allow)) }, probe);
  expect(lookupFailed("a.test", "NXDOMAIN", told)).toMatchObject({ failure: { detail: `${said} that a.test does not exist (NXDOMAIN)` } });
});
