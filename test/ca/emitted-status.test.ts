import { join } from "node:path";
import { beforeAll, afterAll, describe, expect, test } from "vitest";
import { fixedClock } from "../support/clock.ts";
import { holdEmitted } from "../support/emitted-status.ts";
import { issuedSerial, opensslOcspRequest, postOcsp, revokeSerial } from "../support/ocsp.ts";
import { startService, type TestService } from "../support/service.ts";

/* Whoever starts a service in a test has it looked at in the end; here the look is held against what it must find. */

let chancery: TestService;
const clock = fixedClock(new Date().toISOString());
beforeAll(async () => {
  chancery = await startService({ clock });
});
afterAll(() => chancery[Symbol.asyncDispose]());

const hold = (responses: readonly Uint8Array[] = chancery.ground.emitted.responses): Promise<void> =>
  holdEmitted(chancery.ground.databaseUrl, { responses: [...responses], planted: false });

/** DER ResponseData that is signed about a certificate now. */
const answered = async (serial: string): Promise<Uint8Array> => {
  const { ground, service } = chancery;
  const request = await opensslOcspRequest({ serials: [serial], issuer: join(ground.directory, "chain.pem"), nonce: true });
  await postOcsp(service, request);
  return ground.emitted.responses.at(-1) ?? new Uint8Array();
};

/** The same octets with others in place of some, all of one length. */
const replaced = (bytes: Uint8Array, find: Uint8Array | string, put: Uint8Array | string): Uint8Array => {
  const changed = Buffer.from(bytes);
  const at = changed.indexOf(find);
  if (at < 0) throw new Error("there is nothing to replace");
  changed.set(Buffer.from(put), at);
  return changed;
};

const query: TestService["service"]["ca"]["database"]["read"] = (act) => chancery.service.ca.database.read(act);

describe("what was said on a ground of certificates' status is held against its tables", () => {
  test("and everything of a service that issues, revokes and answers holds", async () => {
    const serial = await issuedSerial(chancery.service);
    const good = await answered(serial);
    await revokeSerial(chancery.service, serial, 4);
    const revoked = await answered(serial);
    expect(chancery.ground.emitted.responses).toEqual([good, revoked]);
    await hold();
  });

  test("good of a serial number that was never issued is found (XO-5)", async () => {
    const serial = await issuedSerial(chancery.service);
    const never = replaced(await answered(serial), Buffer.from(serial, "hex"), Buffer.from(`40${"00".repeat(15)}`, "hex"));
    await expect(hold([never])).rejects.toThrow("OCSP response 1: it is good about what no authority issued (XO-5)");
  });

  test("another reason than the recorded one is found (XC-6)", async () => {
    const serial = await issuedSerial(chancery.service);
    await revokeSerial(chancery.service, serial, 4);
    // [0] EXPLICIT CRLReason: superseded, and cessationOfOperation.
    const other = replaced(await answered(serial), Buffer.from("a0030a0104", "hex"), Buffer.from("a0030a0105", "hex"));
    await expect(hold([other])).rejects.toThrow(new RegExp(`${serial} is revoked at \\S+ for 5, in the table revoked at \\S+ for 4`));
  });

  test("good long after it was called revoked is found (XO-6)", async () => {
    const serial = await issuedSerial(chancery.service);
    const good = await answered(serial);
    await revokeSerial(chancery.service, serial, 4);
    const revoked = await answered(serial);
    await hold([revoked, good]);
    const day = clock.now().toISOString().slice(0, 10).replaceAll("-", "");
    const text = Buffer.from(good)
      .toString("latin1")
      .replaceAll(day, `${Number(day.slice(0, 4)) + 1}${day.slice(4)}`);
    await expect(hold([revoked, Buffer.from(text, "latin1")])).rejects.toThrow(`${serial} is good, and was revoked before (XO-6)`);
  });

  test("an answer that lasts longer than its responder's certificate, or a day, is found (XO-11, XO-13)", async () => {
    const serial = await issuedSerial(chancery.service);
    const text = Buffer.from(await answered(serial)).toString("latin1");
    const end = text.lastIndexOf("\x18\x0f") + 2;
    const year = Number(text.slice(end, end + 4)) + 1;
    const long = Buffer.from(`${text.slice(0, end)}${year}${text.slice(end + 4)}`, "latin1");
    await expect(hold([long])).rejects.toThrow(/it lasts \d+ hours \(XO-11\)\n.*it ends behind its responder's certificate \(XO-13\)/);
  });

  test("a CRL without a revocation that its snapshot shows is found (XC-6, XC-18)", async () => {
    const slot = () =>
      query((sql) => sql<{ snapshot: string }[]>`select snapshot::text as snapshot from crl_slot where path = 'issuing-1'`);
    const [before] = await slot();
    await hold();
    await query((sql) => sql`update crl_slot set snapshot = pg_current_snapshot() where path = 'issuing-1'`);
    const serial = await issuedSerial(chancery.service);
    await revokeSerial(chancery.service, serial, 1);
    await query((sql) => sql`update crl_slot set snapshot = pg_current_snapshot() where path = 'issuing-1'`);
    await expect(hold([])).rejects.toThrow(`${serial} is revoked and not on it (XC-6, XC-18)`);
    await query((sql) => sql`update crl_slot set snapshot = ${before?.snapshot ?? ""}::pg_snapshot where path = 'issuing-1'`);
  });
});
