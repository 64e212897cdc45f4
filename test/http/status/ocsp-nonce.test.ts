import { join } from "node:path";
import * as asn1js from "asn1js";
import { BasicOCSPResponse, OCSPResponse } from "pkijs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { issuedSerial, opensslOcspRequest, opensslOcspVerdict, postOcsp } from "../../support/ocsp.ts";
import { startService, type TestService } from "../../support/service.ts";
import { exchange, type Received } from "../exchange.ts";

let chancery: TestService;
let files: { readonly issuer: string; readonly root: string };
let serial: string;
/** The SEQUENCE OF Request for the serial, as openssl writes it. */
let requestList: asn1js.BaseBlock;
beforeAll(async () => {
  chancery = await startService();
  files = { issuer: join(chancery.ground.directory, "chain.pem"), root: join(chancery.ground.directory, "root.pem") };
  serial = await issuedSerial(chancery.service);
  const { result: request } = asn1js.fromBER(Uint8Array.from(await opensslOcspRequest({ serials: [serial], ...files })));
  const [tbs] = request instanceof asn1js.Sequence ? request.valueBlock.value : [];
  const [list] = tbs instanceof asn1js.Sequence ? tbs.valueBlock.value : [];
  if (!list) throw new Error("openssl wrote no requestList");
  requestList = list;
});
afterAll(() => chancery[Symbol.asyncDispose]());

/** OCSPRequest with a nonce of these octets (RFC 9654 §2.1). */
function requestWith(nonce: Uint8Array): Uint8Array {
  const inner = new asn1js.OctetString({ valueHex: nonce }).toBER();
  const extension = new asn1js.Sequence({
    value: [new asn1js.ObjectIdentifier({ value: "1.3.6.1.5.5.7.48.1.2" }), new asn1js.OctetString({ valueHex: inner })],
  });
  const extensions = new asn1js.Constructed({
    idBlock: { tagClass: 3, tagNumber: 2 },
    value: [new asn1js.Sequence({ value: [extension] })],
  });
  const tbs = new asn1js.Sequence({ value: [requestList, extensions] });
  return new Uint8Array(new asn1js.Sequence({ value: [tbs] }).toBER());
}

/** Octets that differ, the first and the last of them ones that somebody might strip or complete. */
const octets = (length: number) => Uint8Array.from({ length }, (_, index) => (index === 0 ? 0 : index === length - 1 ? 0 : 0xff - index));

function nonceOf({ body }: Received): string | undefined {
  const bytes = OCSPResponse.fromBER(body).responseBytes?.response.valueBlock.valueHexView;
  const { tbsResponseData } = BasicOCSPResponse.fromBER(bytes ?? new Uint8Array());
  const [extension] = tbsResponseData.responseExtensions ?? [];
  return extension && Buffer.from(extension.extnValue.valueBlock.valueHexView).toString("hex");
}

describe("a nonce (XO-14, RFC 9654 §2.1)", () => {
  test.for([1, 15, 16, 32, 33, 127, 128])("of %i octets comes back octet for octet, by POST and GET", async (length) => {
    const request = requestWith(octets(length));
    const path = `/ocsp/issuing-1/${encodeURIComponent(Buffer.from(request).toString("base64"))}`;
    const [byPost, byGet] = [await postOcsp(chancery.service, request), await exchange(chancery.service.listeners.status, { path })];
    const head = length < 128 ? [0x04, length] : [0x04, 0x81, length];
    const expected = Buffer.from([...head, ...octets(length)]).toString("hex");
    expect([nonceOf(byPost), nonceOf(byGet)]).toEqual([expected, expected]);
    expect(await opensslOcspVerdict(byPost.body, { serials: [serial], ...files })).toMatchObject({ verified: true, statuses: ["good"] });
  });

  test.for([0, 129])("of %i octets is malformedRequest", async (length) => {
    const { status, body } = await postOcsp(chancery.service, requestWith(octets(length)));
    expect([status, body.toString("hex")]).toEqual([200, "30030a0101"]);
  });
});
