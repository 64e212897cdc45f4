import { Hono } from "hono";
import { expect, test } from "vitest";
import { front } from "../../src/http/front.ts";
import type { DoorEnvironment } from "../../src/http/rest/door.ts";
import { listen } from "../../src/http/server.ts";
import { exchangeBytes } from "./exchange.ts";

function doorsAt(baseUrl: string): Parameters<typeof front>[0] {
  return { baseUrl, random: { bytes: (length) => new Uint8Array(length) } };
}

test.for([
  { baseUrl: "https://ca.example.org", hsts: true },
  { baseUrl: "https://ca.example.org:9443", hsts: true },
  { baseUrl: "https://localhost.example.org", hsts: true },
  { baseUrl: "https://192.0.2.1", hsts: true },
  { baseUrl: "https://localhost:9443", hsts: false },
  { baseUrl: "https://ca.localhost", hsts: false },
  { baseUrl: "https://127.0.0.1:9443", hsts: false },
  { baseUrl: "https://[::1]:9443", hsts: false },
])("HSTS at $baseUrl: $hsts, on every answer (RFC 6797 §7.1)", async ({ baseUrl, hsts }) => {
  await using listener = await listen(
    { host: "127.0.0.1", port: 0, option: "CHANCERY_LISTEN" },
    front(doorsAt(baseUrl), {
      rest: new Hono<DoorEnvironment>(),
      acme: new Hono<DoorEnvironment>(),
      refuseAcme: () => expect.unreachable(),
    }),
  );
  const requests = ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "no request\r\n\r\n"];
  const answers = await Promise.all(requests.map((bytes) => exchangeBytes(listener.port, bytes)));
  expect(answers.map((answer) => answer.slice(9, 12))).toEqual(["404", "400", "400"]);
  expect(answers.map((answer) => /^strict-transport-security: max-age=31536000\r$/im.test(answer))).toEqual([hsts, hsts, hsts]);
  for (const answer of answers) expect(answer).toMatch(/^x-content-type-options: nosniff\r$/im);
});
