import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { build } from "../src/app.ts";
import type { Events } from "../src/ports/events.ts";
import { freshGround, type Ground, opensslRequest, startService, type TestService } from "./support/service.ts";
import { clockOf } from "./support/clock.ts";

/** Serial and names of the certificate that the TLS listener shows. */
function shown({ service }: TestService): Promise<{ serial: string; names: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { host: "127.0.0.1", port: service.listeners.tls.port, servername: "localhost", rejectUnauthorized: false },
      () => {
        const { serialNumber, subjectaltname } = socket.getPeerCertificate();
        socket.destroy();
        resolve({ serial: serialNumber.toLowerCase(), names: subjectaltname ?? "" });
      },
    );
    socket.on("error", reject);
  });
}

describe("the service's own certificate", () => {
  let offsetSeconds = 0;
  let ground: Ground;
  let chancery: TestService;
  const told = new Map<string, Readonly<Record<string, unknown>>>();
  const events = ({ measure }: Events): Events => ({ tell: (_level, event, fields = {}) => void told.set(event, fields), measure });
  beforeAll(async () => {
    ground = await freshGround({ CHANCERY_BASE_URL: "https://ca.example.org" });
    const clock = clockOf(() => new Date(Date.now() + offsetSeconds * 1000));
    chancery = await startService({ clock, events }, ground);
  });
  afterAll(async () => {
    await chancery[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  test("its start is told with environment and ports, and with no time beside the one of every line", () => {
    const { tls, status, ops } = chancery.service.listeners;
    expect(told.get("service.started")).toEqual({ env: "evaluation", tls: tls.port, status: status.port, ops: ops.port });
  });

  test("names the base URL's host and the loopback, and comes from the service's own intermediate", async () => {
    const { serial, names } = await shown(chancery);
    expect(names).toBe("DNS:ca.example.org, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
    expect((await chancery.ask(`/v1/certificates/${serial}`)).json()).toMatchObject({ authority: "issuing-1", profile: "server" });
  });

  test.for(["ca.example.org", "*.example.org"])("is its own alone: nobody else gets one for %s", async (name) => {
    const { csr } = await opensslRequest("other.example.net", name);
    const refused = await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } });
    expect([refused.status, refused.json()["code"]]).toEqual([403, "policyDenied"]);
    const { csr: sibling } = await opensslRequest("web.example.org", "*.web.example.org", "example.org");
    expect((await chancery.ask("/v1/certificates", { body: { csr: sibling, profile: "server" } })).status).toBe(201);
  });

  test("renews itself without a restart, with a third of its life left; not before", async () => {
    const renew = chancery.service.jobs.find(({ name }) => name === "service certificate");
    const first = await shown(chancery);
    offsetSeconds = 9 * 86_400;
    await renew?.act(new AbortController().signal);
    expect(await shown(chancery)).toEqual(first);
    offsetSeconds = 10 * 86_400;
    await renew?.act(new AbortController().signal);
    expect((await shown(chancery)).serial).not.toBe(first.serial);
    offsetSeconds = 0;
  });
});

describe("a second start", () => {
  let ground: Ground;
  beforeAll(async () => {
    ground = await freshGround();
    await (await build(ground.config))[Symbol.asyncDispose]();
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  test("reuses keys, authorities, first token and own certificate", async () => {
    const states = [];
    for (let start = 0; start < 2; start++) {
      await using chancery = await startService({}, ground);
      const authorities = (await chancery.ask("/v1/authorities")).json();
      states.push({ authorities, token: chancery.adminToken, shown: await shown(chancery) });
    }
    expect(states[1]).toEqual(states[0]);
  });

  test("never opens the root's token: it issues with the root's PIN file taken away", async () => {
    const pin = ground.config.pkcs11RootPinFile;
    await rename(pin, `${pin}.away`);
    await writeFile(pin, "wrong", { mode: 0o400 });
    await using chancery = await startService({}, ground);
    const { csr } = await opensslRequest("root-away.example.org");
    expect((await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } })).status).toBe(201);
    await rm(pin, { force: true });
    await rename(`${pin}.away`, pin);
  });

  test("neither generates nor destroys keys: its token's host refuses both, whatever the service asks", async () => {
    await using chancery = await startService({}, ground);
    const { hsm, authorities } = chancery.service.ca;
    const specification = { ckaId: "00".repeat(16), name: "planted", algorithm: "P-256", purposes: ["certificate"] } as const;
    await expect(hsm.generate(specification)).rejects.toThrow(/refuses/);
    await expect(hsm.destroy(authorities.get("issuing-1")?.key.ckaId ?? "")).rejects.toThrow(/refuses/);
    const { csr } = await opensslRequest("still-there.example.org");
    expect((await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } })).status).toBe(201);
  });

  test("is refused when the token holds another key than was recorded (PK-31)", async () => {
    await using chancery = await startService({}, ground);
    const { database } = chancery.service.ca;
    await database.read((sql) => sql`update key_pair set cka_id = decode(md5(name), 'hex') where name = 'issuing-1'`);
    await chancery[Symbol.asyncDispose]();
    await expect(build(ground.config)).rejects.toThrow(/issuing-1/);
  });
});

test("production without an authority is refused, and says `chancery init`", async () => {
  await using ground = await freshGround();
  await (await build(ground.config))[Symbol.asyncDispose]();
  await using other = await freshGround();
  const config = {
    ...ground.config,
    env: "production" as const,
    databaseUrl: other.databaseUrl,
    softHsmConf: join(ground.directory, "softhsm2.conf"),
  };
  await expect(build(config)).rejects.toThrow("chancery init");
});
