import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { build } from "../../src/app.ts";
import { renewResponders, responderProblem } from "../../src/ca/ocsp.ts";
import { generateResponderKey } from "../../src/ca/responder-key.ts";
import { loadConfig } from "../../src/config.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { evaluationPlan, initialise } from "../../src/initialise.ts";
import { encodePem } from "../../src/pki/pem.ts";
import { openToken } from "../../src/world.ts";
import { fleetGround } from "../support/acme-fleet.ts";
import { recordedEvents } from "../support/events.ts";
import { issuedSerial, opensslOcspRequest, opensslOcspVerdict, postOcsp } from "../support/ocsp.ts";
import { type OcspGround, ocspGround, type OcspInstance } from "../support/ocsp-world.ts";
import { type Ground, opensslRequest, standingGround, startService } from "../support/service.ts";

const day = 86_400;

function certificateOf({ ocsp }: OcspInstance) {
  const { certificate } = ocsp.responders.get("issuing-1") ?? {};
  if (!certificate) throw new Error("no certificate");
  return certificate;
}

async function renew({ ca, ocsp }: OcspInstance): Promise<void> {
  await renewResponders(ca, ocsp);
}

/** Makes the hierarchy one that was made without a key for the responder. */
async function withoutKey({ databaseUrl }: Ground): Promise<void> {
  await using database = await openDatabase({ url: databaseUrl }, { events: recordedEvents() });
  await database.read((sql) => sql`update key_pair set name = 'of another release' where name = 'ocsp-issuing-1'`);
}

describe("a responder's certificate", () => {
  let ground: OcspGround;
  let instance: OcspInstance;
  beforeEach(async () => {
    ground = await ocspGround();
    instance = await ground.instance();
  });
  afterEach(() => ground[Symbol.asyncDispose]());

  const issuer = () => {
    const { authority } = instance.ocsp.responders.get("issuing-1") ?? {};
    if (!authority) throw new Error("no authority");
    return authority;
  };
  const recorded = async (): Promise<number> => {
    const rows = await ground.chancery.service.ca.database.read((sql) => sql`select from certificate where profile = 'ocsp-responder'`);
    return rows.length;
  };
  /** What `init` does where the responder's key is compromised; done twice it makes one key. */
  const withNewKey = async (): Promise<void> => {
    const { service } = ground.chancery;
    await using hsm = await openToken({ config: service.config, events: recordedEvents() }, "issuing, administration");
    await generateResponderKey({ ...service.ca, hsm }, "issuing-1");
    await generateResponderKey({ ...service.ca, hsm }, "issuing-1");
  };
  test("is the issuing authority's own, for OCSP alone, without a place to ask for its own status, for 30 days (XO-13, RFC 6960 §4.2.2.2)", async () => {
    const { der } = certificateOf(instance);
    const certificate = new X509Certificate(der);
    expect(certificate.checkIssued(new X509Certificate(issuer().certificate))).toBe(true);
    expect(certificate.verify(new X509Certificate(issuer().certificate).publicKey)).toBe(true);
    expect([certificate.ca, certificate.keyUsage, certificate.publicKey.asymmetricKeyDetails?.namedCurve]).toEqual([
      false,
      ["1.3.6.1.5.5.7.3.9"],
      "prime256v1",
    ]);
    expect(certificate.subject).toBe("C=XX\nO=Chancery Evaluation\nCN=OCSP Responder issuing-1");
    expect(certificate.validToDate.getTime() - certificate.validFromDate.getTime()).toBe((30 * day - 1) * 1000);
    const running = promisify(execFile)("openssl", [
      "x509",
      "-noout",
      "-ext",
      "noCheck,keyUsage,authorityInfoAccess,crlDistributionPoints",
    ]);
    running.child.stdin?.end(encodePem("CERTIFICATE", der));
    const { stdout } = await running;
    expect(stdout).toMatch(/OCSP No Check/);
    expect(stdout).toMatch(/critical\n +Digital Signature\n/);
    expect(stdout).not.toMatch(/Authority Information Access|CRL Distribution/);
  });

  test("is replaced at half of its life under the same key, and not a second before; what was answered with the old one goes on", async () => {
    const old = certificateOf(instance);
    const serial = await ground.issued();
    const request = await ground.request(serial);
    const half = (old.notBefore.getTime() + old.notAfter.getTime()) / 2;
    instance.clock.set(new Date(half - 1000).toISOString());
    await renew(instance);
    expect(certificateOf(instance)).toEqual(old);
    const kept = await instance.answer(request);
    instance.clock.set(new Date(half).toISOString());
    await renew(instance);
    const fresh = certificateOf(instance);
    expect(fresh.serial).not.toBe(old.serial);
    expect(new X509Certificate(fresh.der).publicKey.equals(new X509Certificate(old.der).publicKey)).toBe(true);
    expect(await instance.answer(request)).toEqual(kept);
    const later = await instance.answer(await ground.request(await ground.issued()));
    expect(
      [kept.response, later.response].map((response) => [old, fresh].map(({ der }) => Buffer.from(response).includes(Buffer.from(der)))),
    ).toEqual([
      [true, false],
      [false, true],
    ]);
    expect(instance.events.told.filter(({ event }) => event === "responder.renewed")).toHaveLength(1);
  });

  test("that several instances renew at once is one", async () => {
    const instances = [instance, await ground.instance(), await ground.instance()];
    for (const each of instances) each.clock.advance(16 * day);
    const before = await recorded();
    await Promise.all(instances.map(renew));
    expect(await recorded()).toBe(before + 1);
    expect(new Set(instances.map((each) => certificateOf(each).serial)).size).toBe(1);
    // Who comes later finds it.
    const late = await ground.instance();
    expect(certificateOf(late).serial).toBe(certificateOf(instance).serial);
    expect(await recorded()).toBe(before + 1);
  });

  test("reaches to the end of the authority where no other would fit behind it, and is the last", async () => {
    const end = issuer().issuer.notAfter;
    instance.clock.set(new Date(end.getTime() - 40 * day * 1000).toISOString());
    await renew(instance);
    const last = certificateOf(instance);
    expect(last.notAfter).toEqual(end);
    instance.clock.set(new Date(end.getTime() - 3_600_000).toISOString());
    await renew(instance);
    expect(certificateOf(instance).serial).toBe(last.serial);
    expect(responderProblem(instance.ocsp)).toBeUndefined();
    const { kept } = await instance.answer(await ground.request(await ground.issued()));
    expect(kept?.nextUpdate).toEqual(end);
  });

  test("that cannot be had any more is missing: the checks say so, and nothing is signed", async () => {
    const end = issuer().issuer.notAfter;
    instance.clock.set(new Date(end.getTime() - 20 * day * 1000).toISOString());
    await expect(renew(instance)).rejects.toMatchObject({ code: "lifetimeOutOfRange" });
    expect(responderProblem(instance.ocsp)).toMatch(/^the certificate of the responder of issuing-1 ended at /);
    await expect(instance.answer(await ground.request(await ground.issued()))).rejects.toMatchObject({ code: "busy" });
  });

  test("that was revoked is replaced at the next look", async () => {
    const old = certificateOf(instance);
    await ground.revoke(old.serial, 4);
    await renew(instance);
    expect(certificateOf(instance).serial).not.toBe(old.serial);
  });

  test("whose key is compromised is not replaced: nothing is signed, and nothing that was signed is given any more", async () => {
    const request = await ground.request(await ground.issued());
    const { kept } = await instance.answer(request);
    await ground.revoke(certificateOf(instance).serial, 1);
    await renew(instance);
    expect(kept?.current).toBe(false);
    await expect(instance.answer(request)).rejects.toMatchObject({ code: "busy" });
    expect(responderProblem(instance.ocsp)).toBe("the responder of issuing-1 has no certificate");
    expect(instance.events.told.map(({ event }) => event)).toContain("responder.compromised");
    // No later instance takes it up either.
    expect(responderProblem((await ground.instance()).ocsp)).toBe("the responder of issuing-1 has no certificate");
  });

  test("whose key is compromised is replaced by one under a new key, which `init` makes, also in an instance that is running", async () => {
    const serial = await ground.issued();
    const request = await ground.request(serial);
    const old = certificateOf(instance);
    await instance.answer(request);
    await ground.revoke(old.serial, 1);
    await withNewKey();
    await renew(instance);
    const fresh = certificateOf(instance);
    expect(new X509Certificate(fresh.der).publicKey.equals(new X509Certificate(old.der).publicKey)).toBe(false);
    const { response } = await instance.answer(request);
    expect(Buffer.from(response).includes(Buffer.from(fresh.der))).toBe(true);
    expect(await ground.verdict({ response }, serial)).toMatchObject({ verified: true, statuses: ["good"] });
    const names = await ground.chancery.service.ca.database.read(
      (sql) => sql<{ name: string }[]>`select name from key_pair where name like 'ocsp-%' order by name`,
    );
    expect(names.map(({ name }) => name)).toEqual(["ocsp-issuing-1", "ocsp-issuing-1.2"]);
  });

  test.for([
    { name: "for everybody", request: (serial: string) => ground.request(serial) },
    { name: "for one request alone", request: (serial: string) => ground.requestWithNonce(serial) },
  ])(
    "whose key is blocked while an answer $name is signed: the new key signs it, the old one nothing that is given",
    async ({ request }) => {
      const serial = await ground.issued();
      const old = certificateOf(instance);
      let blocked = false;
      instance.on.signed = async () => {
        if (blocked) return;
        blocked = true;
        await ground.revoke(old.serial, 1);
        await withNewKey();
        await renew(instance);
      };
      const answer = await instance.answer(await request(serial));
      const [gone, fresh] = [old, certificateOf(instance)].map(({ der }) => Buffer.from(answer.response).includes(Buffer.from(der)));
      expect([gone, fresh, instance.signatures()]).toEqual([false, true, 2]);
      expect(await ground.verdict(answer, serial)).toMatchObject({ verified: true, statuses: ["good"] });
    },
  );

  test("whose key is blocked while an answer is signed, with no other in its place: nothing is given, and nothing kept", async () => {
    const request = await ground.request(await ground.issued());
    instance.on.signed = async () => {
      instance.on.signed = undefined;
      await ground.revoke(certificateOf(instance).serial, 1);
      await renew(instance);
    };
    await expect(instance.answer(request)).rejects.toMatchObject({ code: "busy" });
    expect(instance.ocsp.cache.list()).toEqual([]);
  });

  test("is renewed while issuance is halted, and answers are signed; what others ask for is not", async () => {
    const { ask } = ground.chancery;
    expect((await ask("/v1/halt", { body: { reason: "drill" } })).status).toBe(200);
    const old = certificateOf(instance);
    const serial = await issuedSerial(ground.chancery.service);
    instance.clock.advance(16 * day);
    await renew(instance);
    expect(certificateOf(instance).serial).not.toBe(old.serial);
    expect((await instance.answer(await ground.request(serial))).kept).toBeDefined();
    const { csr } = await opensslRequest("halted.example.org");
    const refused = await ask("/v1/certificates", { body: { csr, profile: "server" } });
    expect([refused.status, refused.json()["code"]]).toEqual([503, "issuanceHalted"]);
  });
});

describe("a hierarchy of a release without OCSP, whose responder has no key", () => {
  test("an evaluation makes it at its start", async () => {
    await using ground = await standingGround();
    await withoutKey(ground);
    await using chancery = await startService({}, ground);
    const serial = await issuedSerial(chancery.service);
    const files = { issuer: `${ground.directory}/chain.pem`, root: `${ground.directory}/root.pem` };
    const answer = await postOcsp(chancery.service, await opensslOcspRequest({ serials: [serial], ...files }));
    expect(await opensslOcspVerdict(answer.body, { serials: [serial], ...files })).toMatchObject({ verified: true, statuses: ["good"] });
  });

  test("production refuses to start and says what to run; that makes the key and changes nothing else", async () => {
    await using grounds = await fleetGround();
    await withoutKey(grounds.ground);
    const config = loadConfig({ env: grounds.another("second"), directory: grounds.ground.directory });
    await expect(build(config)).rejects.toMatchObject({
      code: "refusedToStart",
      detail:
        "the OCSP responder of issuing-1 has no key: run `chancery init` once more, with the options of the first time and the root's token at hand",
    });
    const { root } = await initialise(grounds.ground.config, evaluationPlan);
    await using service = await build(config);
    expect(service.ca.authorities.get("root-1")?.certificate).toEqual(root);
    expect(responderProblem(service.ocsp)).toBeUndefined();
  });
});
