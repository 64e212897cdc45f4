import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DatabaseState, readState, readStatusChanges, readStatuses, type SerialOf } from "../../src/ca/status-store.ts";
import { issuedSerial } from "../support/ocsp.ts";
import { startService, type TestService } from "../support/service.ts";

let chancery: TestService;
beforeAll(async () => {
  chancery = await startService();
});
afterAll(() => chancery[Symbol.asyncDispose]());

/** As the service draws them: 16 octets that begin with 0x40 to 0x7f. */
function randomSerial(): string {
  const serial = randomBytes(16);
  serial[0] = 0x40 | (serial.readUInt8(0) & 0x3f);
  return serial.toString("hex");
}

test("of 100,000 random serial numbers none is good, but for the one that was issued (XO-5)", async () => {
  const { ca } = chancery.service;
  const issued = await issuedSerial(chancery.service);
  const count = 100_000;
  const page = 5_000;
  const place = 77_777;
  const others = new Set<string>();
  for (let start = 0; start < count; start += page) {
    const serials: SerialOf[] = Array.from({ length: page }, (_, index) => ({
      authority: "issuing-1",
      serial: start + index === place ? issued : randomSerial(),
    }));
    const statuses = await ca.database.read((sql) => readStatuses(sql, serials));
    expect(statuses).toHaveLength(page);
    for (const [index, { status }] of statuses.entries()) if (start + index !== place) others.add(status);
    if (place >= start && place < start + page) expect(statuses[place - start]).toEqual({ status: "good" });
  }
  expect([...others]).toEqual(["unknown"]);
});

test("every serial number of one authority is unknown under another, whichever it is (XO-5)", async () => {
  const { ca } = chancery.service;
  await issuedSerial(chancery.service);
  const all = await ca.database.read(
    (sql) => sql<SerialOf[]>`select authority, encode(serial, 'hex') as serial from certificate where certificate is not null`,
  );
  expect(new Set(all.map(({ authority }) => authority))).toEqual(new Set(["root-1", "issuing-1"]));
  const elsewhere = all.map(({ authority, serial }) => ({ authority: authority === "root-1" ? "issuing-1" : "root-1", serial }));
  const [own, sibling] = await Promise.all([all, elsewhere].map((serials) => ca.database.read((sql) => readStatuses(sql, serials))));
  expect(new Set(own?.map(({ status }) => status))).toEqual(new Set(["good"]));
  expect(new Set(sibling?.map(({ status }) => status))).toEqual(new Set(["unknown"]));
});

const changesSince = (since: DatabaseState) => chancery.service.ca.database.read((sql) => readStatusChanges(sql, { since, limit: 10 }));

test("of a database that is older than the state it is told so: it was restored (XO-21)", async () => {
  const { server } = await chancery.service.ca.database.read(readState);
  const changes = await changesSince({ snapshot: "999999999:999999999:", server });
  expect(changes).toMatchObject({ rewound: true, changed: [] });
  expect(await changesSince(changes.state)).toMatchObject({ rewound: false, changed: [] });
});

test("of another server than that of the state it is told so: it may lack what the state had (XO-21)", async () => {
  const { snapshot, server } = await chancery.service.ca.database.read(readState);
  expect(await changesSince({ snapshot, server })).toMatchObject({ rewound: false, state: { server } });
  const [started = "", database = ""] = server.split(" ");
  for (const other of [`${started}1 ${database}`, `${started} ${database}1`]) {
    const changes = await changesSince({ snapshot, server: other });
    expect(changes).toMatchObject({ rewound: true, changed: [], state: { server } });
  }
});
