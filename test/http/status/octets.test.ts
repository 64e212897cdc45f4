import { join } from "node:path";
import { BasicOCSPResponse, OCSPResponse } from "pkijs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { issuedSerial, opensslOcspRequest, postOcsp, revokeSerial } from "../../support/ocsp.ts";
import { startService, type TestService } from "../../support/service.ts";
import { octetsOf } from "../../support/status-bytes.ts";

let chancery: TestService;
beforeAll(async () => {
  chancery = await startService();
});
afterAll(() => chancery[Symbol.asyncDispose]());

/** Octets of a response, without the certificate that it carries, and of its signature, which differ by one or two from one to the next. */
function measured(body: Uint8Array) {
  const response = OCSPResponse.fromBER(body);
  const { responseBytes } = response;
  if (!responseBytes) throw new Error("an error response");
  const basic = BasicOCSPResponse.fromBER(responseBytes.response.valueBlock.valueHexView);
  const certificate = basic.certs?.[0]?.toSchema().toBER().byteLength ?? 0;
  const signature = basic.signature.valueBlock.valueHexView.length;
  delete basic.certs;
  responseBytes.response.valueBlock.valueHexView = octetsOf(basic.toSchema().toBER());
  return { whole: body.length, bare: response.toSchema().toBER().byteLength, certificate, signature };
}

/** Of a P-256 signature whose numbers both have 32 octets and one of them a zero more in front. */
const usualSignature = 71;

describe("how many octets requests and responses have, for a serial number of 16 octets (XO-23)", () => {
  test.for([
    { hash: "sha1", reason: undefined, request: 83, nonce: 37, response: 279 },
    { hash: "sha1", reason: 0, request: 83, nonce: 37, response: 300 },
    { hash: "sha1", reason: 4, request: 83, nonce: 37, response: 305 },
    { hash: "sha256", reason: undefined, request: 111, nonce: 39, response: 311 },
    { hash: "sha256", reason: 0, request: 111, nonce: 39, response: 328 },
    { hash: "sha256", reason: 4, request: 111, nonce: 39, response: 333 },
  ] as const)(
    "CertID by $hash, revoked for $reason: $request and $nonce more with a nonce; $response by key without the certificate, give or take the signature's one or two",
    async ({ hash, reason, request, nonce, response }) => {
      const { service, ground } = chancery;
      const serials = [await issuedSerial(service)];
      if (reason !== undefined) await revokeSerial(service, serials[0] ?? "", reason);
      const asked = { serials, hash, issuer: join(ground.directory, "chain.pem") };
      const [plain, withNonce] = [await opensslOcspRequest(asked), await opensslOcspRequest({ ...asked, nonce: true })];
      expect([plain.length, withNonce.length - plain.length]).toEqual([request, nonce]);
      const { whole, bare, certificate, signature } = measured((await postOcsp(service, plain)).body);
      expect(bare - signature + usualSignature).toBe(response);
      // Between 68 octets of a P-256 signature, which one in millions has, and 72.
      expect(signature).toBeGreaterThanOrEqual(68);
      expect(signature).toBeLessThanOrEqual(72);
      // The certificate, and the lengths around it: with the headers of HTTP it fits into one packet.
      expect(whole - bare - certificate).toBeLessThanOrEqual(10);
      expect(whole).toBeLessThan(900);
    },
  );
});
