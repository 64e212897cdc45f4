import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseDatabaseUrl } from "../../src/database/address.ts";
import { Fault } from "../../src/fault.ts";

test.for([
  {
    name: "host, port, user and password",
    url: "postgresql://chancery:p%40ss%2Fword@db.example.org:6432/ca",
    address: { host: "db.example.org", port: 6432, user: "chancery", password: "p@ss/word", database: "ca", sslmode: "disable" },
  },
  {
    name: "a database named like its user, on the usual port",
    url: "postgres://chancery@db.example.org",
    address: { host: "db.example.org", port: 5432, user: "chancery", password: "", database: "chancery", sslmode: "disable" },
  },
  {
    name: "a Unix socket's directory",
    url: "postgresql:///ca?host=%2Frun%2Fpostgresql&user=chancery",
    address: { host: "/run/postgresql", port: 5432, user: "chancery", password: "", database: "ca", sslmode: "disable" },
  },
  {
    name: "an IPv6 address with TLS",
    url: "postgresql://chancery@[2001:db8::1]:5433/ca?sslmode=verify-full",
    address: { host: "2001:db8::1", port: 5433, user: "chancery", password: "", database: "ca", sslmode: "verify-full" },
  },
])("a connection URI gives $name (PostgreSQL 18, 32.1.1.2)", ({ url, address }) => {
  expect(parseDatabaseUrl(url)).toEqual(address);
});

test.for([
  { name: "no URL", url: "host=db user=chancery", detail: "not a URL" },
  { name: "another scheme", url: "mysql://u@h/d", detail: "not a URL" },
  { name: "no host", url: "postgresql:///ca?user=chancery", detail: "no host" },
  { name: "no user", url: "postgresql://db.example.org/ca", detail: "no user" },
  { name: "port 0", url: "postgresql://u@h:0/ca", detail: "port" },
  { name: "a port beyond 65535", url: "postgresql://u@h/ca?port=65536", detail: "port" },
  { name: "a port that is no number", url: "postgresql://u@h/ca?port=x", detail: "port" },
  { name: "an unknown parameter", url: "postgresql://u@h/ca?options=-c", detail: "parameter that is none of" },
  { name: "TLS only when the server likes", url: "postgresql://u@h/ca?sslmode=prefer", detail: "sslmode that is none of" },
  { name: "a percent sign that encodes nothing", url: "postgresql://u:%E0%A4%A@h/ca", detail: "not a URL" },
])("$name refuses the start", ({ url, detail }) => {
  expect(() => parseDatabaseUrl(url)).toThrow(expect.objectContaining({ code: "refusedToStart", detail: expect.stringContaining(detail) }));
});

test.for([
  { url: "postgresql://u@db.example.org/ca", taken: false },
  { url: "postgresql://u@192.0.2.1/ca", taken: false },
  { url: "postgresql://u@127.example.org/ca", taken: false },
  { url: "postgresql://u@localhost.example.org/ca", taken: false },
  { url: "postgresql://u@localhost/ca?host=db.example.org", taken: false },
  { url: "postgresql://u@db.example.org/ca?sslmode=disable", taken: true },
  { url: "postgresql://u@db.example.org/ca?sslmode=verify-full", taken: true },
  { url: "postgresql://u@localhost/ca", taken: true },
  { url: "postgresql://u@127.0.0.2/ca", taken: true },
  { url: "postgresql://u@[::1]/ca", taken: true },
  { url: "postgresql:///ca?host=/run/postgresql&user=u", taken: true },
])("in production another machine's URL says its sslmode: $url is taken $taken", ({ url, taken }) => {
  const parse = () => parseDatabaseUrl(url, { writtenSslmode: true });
  if (taken) expect(parse().user).toBe("u");
  else
    expect(parse).toThrow(
      expect.objectContaining({
        code: "refusedToStart",
        detail: expect.stringContaining("DATABASE_URL names another machine and no sslmode"),
      }),
    );
  expect(parseDatabaseUrl(url).user).toBe("u");
});

test("any text is an address or a refusal, which never shows a password", () => {
  const part = fc.string({ unit: "grapheme-ascii", maxLength: 12 });
  const url = fc.oneof(
    fc.webUrl({ withQueryParameters: true }).map((text) => text.replace(/^https?/, "postgresql")),
    fc.tuple(part, part, part).map(([user, host, rest]) => `postgresql://${user}:hunter2secret@${host}/${rest}`),
    fc.string({ unit: "binary" }),
  );
  fc.assert(
    fc.property(url, (text) => {
      try {
        const { host, port, user } = parseDatabaseUrl(text);
        expect([host !== "", user !== "", Number.isInteger(port)]).toEqual([true, true, true]);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        expect(error.code).toBe("refusedToStart");
        expect(error.detail).not.toContain("hunter2secret");
      }
    }),
  );
});
