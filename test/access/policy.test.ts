import { describe, expect, test } from "vitest";
import { may, mayGrant } from "../../src/access/policy.ts";
import type { Action, Role } from "../../src/access/principal.ts";

const principal = (role: Role, namespace = "/") => ({ id: "token:1", role, namespace });
const reads: readonly Action[] = ["certificate:read", "authority:read", "profile:read", "acme-account:read", "acme-order:read"];
const administers: readonly Action[] = [
  "token:create",
  "token:read",
  "token:revoke",
  "external-account-key:create",
  "external-account-key:read",
  "external-account-key:revoke",
  "acme-account:revoke",
  "revocation:create",
  "revocation:read",
  "revocation:stop",
  "issuance:halt",
  "key:block",
];
const asks: readonly Action[] = ["certificate:issue", "certificate:revoke"];

test.for<{ role: Role; actions: readonly Action[] }>([
  { role: "viewer", actions: reads },
  { role: "requester", actions: [...reads, ...asks] },
  { role: "admin", actions: [...reads, ...asks, ...administers] },
])("$role may do exactly what its role says", ({ role, actions }) => {
  const all: readonly Action[] = [...reads, ...asks, ...administers];
  expect(all.filter((action) => may(principal(role), action, { namespace: "/" })).toSorted()).toEqual(actions.toSorted());
});

test("no role reaches beyond its namespace", () => {
  expect(may(principal("admin", "/a"), "token:revoke", { namespace: "/a/b" })).toBe(true);
  for (const namespace of ["/", "/ab", "/b"]) expect(may(principal("admin", "/a"), "certificate:read", { namespace })).toBe(false);
});

describe("nobody grants more than they have (ACC-9)", () => {
  test.for<{ role: Role; namespace: string; yes: boolean }>([
    { role: "admin", namespace: "/a", yes: true },
    { role: "viewer", namespace: "/a/b", yes: true },
    { role: "admin", namespace: "/", yes: false },
    { role: "viewer", namespace: "/b", yes: false },
  ])("an administrator of /a grants $role in $namespace: $yes", ({ role, namespace, yes }) => {
    expect(mayGrant(principal("admin", "/a"), { role, namespace })).toBe(yes);
  });

  test.for<Role>(["viewer", "requester"])("a %s grants nothing, not even itself", (role) => {
    for (const granted of ["viewer", "requester", "admin"] as const)
      expect(mayGrant(principal(role), { role: granted, namespace: "/" })).toBe(false);
  });
});
