import { expect, test } from "vitest";
import { readOwnPlaces } from "../../src/net/own-places.ts";

const database = { host: "db.example.org", port: 5432 };

test("a host is what its name leads to at each reading; where that cannot be said, what it led to before", async () => {
  const answers: (readonly string[] | undefined)[] = [["192.0.2.1", "2001:db8::1"], ["192.0.2.2"], undefined];
  const read = readOwnPlaces([database], async () => {
    const answer = answers.shift();
    if (!answer) throw new Error("the resolver is away");
    return answer;
  });
  expect(await read()).toEqual([
    { address: "192.0.2.1", port: 5432 },
    { address: "2001:db8::1", port: 5432 },
  ]);
  const second = [{ address: "192.0.2.2", port: 5432 }];
  expect(await read()).toEqual(second);
  expect(await read()).toEqual(second);
});

test.for([
  { name: "an address is itself", host: "10.1.2.3", addresses: ["10.1.2.3"] },
  { name: "a Unix socket is at none", host: "/run/postgresql", addresses: [] },
  { name: "localhost is loopback, whatever can be looked up", host: "localhost", addresses: ["127.0.0.1", "::1"] },
  { name: "a name that leads nowhere is at none", host: "nowhere.example.org", addresses: [] },
])("$name", async ({ host, addresses }) => {
  const read = readOwnPlaces([{ host, port: 443 }], () => Promise.reject(new Error("the resolver is away")));
  expect(await read()).toEqual(addresses.map((address) => ({ address, port: 443 })));
});

test("the system's own look-up knows the names of this machine", async () => {
  const addresses = (await readOwnPlaces([{ host: "LOCALHOST", port: 443 }])()).map(({ address }) => address);
  expect(addresses.some((address) => address === "127.0.0.1" || address === "::1")).toBe(true);
});
