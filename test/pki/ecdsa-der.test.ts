import { AsnConvert, AsnIntegerArrayBufferConverter, AsnProp, AsnPropTypes, AsnType, AsnTypeTypes } from "@peculiar/asn1-schema";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ecdsaDer } from "../../src/pki/algorithm.ts";

/** Ecdsa-Sig-Value (RFC 3279 §2.2.3) as a library's decoder sees it. */
class EcdsaSignature {
  r = new ArrayBuffer(0);
  s = new ArrayBuffer(0);
}
AsnType({ type: AsnTypeTypes.Sequence })(EcdsaSignature);
for (const name of ["r", "s"])
  AsnProp({ type: AsnPropTypes.Integer, converter: AsnIntegerArrayBufferConverter })(EcdsaSignature.prototype, name);

const number = (octets: ArrayBuffer | Uint8Array): bigint => BigInt(`0x0${Buffer.from(new Uint8Array(octets)).toString("hex")}`);

test.for([
  { curve: "P-256", octets: 32 },
  { curve: "P-384", octets: 48 },
])("a second decoder reads the r and s of $curve that the token gave (PK-26)", ({ octets }) => {
  const half = fc.oneof(
    fc.uint8Array({ minLength: octets, maxLength: octets }),
    // Leading zeros, and a high bit after them: where minimal INTEGERs go wrong.
    fc
      .nat({ max: octets - 1 })
      .chain((zeros) =>
        fc
          .uint8Array({ minLength: octets - zeros, maxLength: octets - zeros })
          .map((rest) => Uint8Array.from([...new Uint8Array(zeros), ...rest])),
      ),
  );
  fc.assert(
    fc.property(half, half, (r, s) => {
      const decoded = AsnConvert.parse(ecdsaDer(Uint8Array.from([...r, ...s])), EcdsaSignature);
      expect([number(decoded.r), number(decoded.s)]).toEqual([number(r), number(s)]);
    }),
    { numRuns: 500 },
  );
});
