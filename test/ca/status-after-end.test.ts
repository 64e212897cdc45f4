import { join } from "node:path";
import { expect, test } from "vitest";
import { renewResponders } from "../../src/ca/ocsp.ts";
import { publishDueCrls } from "../../src/ca/publish-due-crls.ts";
import { crlGround, issueLeaf, opensslCrl, revokeLeaf, standing } from "../support/crl-world.ts";
import { ocspGround } from "../support/ocsp-world.ts";

const daySeconds = 86_400;

test("CRLs of an authority go on behind its own end, whoever may still look at them (XC-16)", async () => {
  await using crls = await crlGround();
  const { ca, clock } = crls;
  const leaf = await issueLeaf(ca);
  await revokeLeaf(ca, leaf);
  const before = await standing(ca);
  const notAfter = ca.authorities.get("issuing-1")?.issuer.notAfter ?? new Date(0);
  clock.aheadSeconds += (notAfter.getTime() - clock.now().getTime()) / 1000 + daySeconds;
  expect(await publishDueCrls(ca)).toBeGreaterThan(0);
  const after = await standing(ca);
  expect([after.number > before.number, after.thisUpdate > notAfter]).toEqual([true, true]);
  expect((await opensslCrl(after.der, join(crls.ground.directory, "chain.pem"))).verified).toBe(true);
});

test("a certificate that is over is answered for as before: no row is dropped (XO-3, RFC 6960 §4.4.4)", async () => {
  await using ground = await ocspGround();
  const [good, revoked] = [await ground.issued(), await ground.issued()];
  await ground.revoke(revoked, 4);
  const instance = await ground.instance();
  const { authorities } = instance.ca;
  instance.clock.advance(100 * daySeconds);
  await renewResponders(instance.ca, instance.ocsp);
  expect(authorities.get("issuing-1")?.issuer.notAfter.getTime()).toBeGreaterThan(instance.clock.now().getTime());
  const said = async (serial: string) => {
    const { kept } = await instance.answer(await ground.request(serial));
    const { text } = await ground.verdict({ response: kept?.response ?? new Uint8Array() }, serial);
    return /Cert Status: (\w+)/.exec(text)?.[1];
  };
  expect([await said(good), await said(revoked)]).toEqual(["good", "revoked"]);
});
