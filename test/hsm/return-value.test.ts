import pkcs11js from "pkcs11js";
import { expect, test } from "vitest";

import { returnClass, returnCodeOf, returnName, returnValues } from "../../src/hsm/return-value.ts";

/** Return values of PKCS#11 3.0 to 3.2 that the native binding does not name. */
const later = {
  CKR_ACTION_PROHIBITED: 0x1b,
  CKR_AEAD_DECRYPT_FAILED: 0x42,
  CKR_CURVE_NOT_SUPPORTED: 0x140,
  CKR_TOKEN_RESOURCE_EXCEEDED: 0x201,
  CKR_OPERATION_CANCEL_FAILED: 0x202,
  CKR_KEY_EXHAUSTED: 0x203,
  CKR_PENDING: 0x204,
  CKR_SESSION_ASYNC_NOT_SUPPORTED: 0x205,
  CKR_SEED_RANDOM_REQUIRED: 0x206,
  CKR_OPERATION_NOT_VALIDATED: 0x207,
  CKR_TOKEN_NOT_INITIALIZED: 0x208,
  CKR_PARAMETER_SET_NOT_SUPPORTED: 0x209,
};

const named = Object.entries(pkcs11js).filter(
  (entry): entry is [string, number] => entry[0].startsWith("CKR_") && typeof entry[1] === "number",
);

test("every return value of PKCS#11 has one row under its name (PK-60)", () => {
  expect(named.length).toBeGreaterThan(85);
  for (const [name, code] of [...named, ...Object.entries(later)]) {
    expect(
      returnValues.filter((row) => row.code === code).map((row) => row.name),
      name,
    ).toEqual([name]);
  }
  expect(new Set(returnValues.map(({ code }) => code)).size).toBe(returnValues.length);
});

test.for([
  { code: 0xa0, call: "C_Login", expected: "pin" },
  { code: 0xa4, call: "C_Login", expected: "pin" },
  { code: 0x100, call: "C_Login", expected: "done" },
  { code: 0x100, call: "C_Sign", expected: "session" },
  { code: 0x191, call: "C_Initialize", expected: "done" },
  { code: 0x191, call: "C_Sign", expected: "device" },
  { code: 0x02, call: "C_Sign", expected: "session" },
  { code: 0x02, call: "C_OpenSession", expected: "device" },
  { code: 0x82, call: "C_SignInit", expected: "session" },
  { code: 0x90, call: "C_SignInit", expected: "session" },
  { code: 0xb3, call: "C_Sign", expected: "session" },
  { code: 0x190, call: "C_Sign", expected: "device" },
  { code: 0x30, call: "C_Sign", expected: "device" },
  { code: 0x05, call: "C_Sign", expected: "device" },
  { code: 0x150, call: "C_Sign", expected: "fatal" },
  { code: 0x70, call: "C_SignInit", expected: "fatal" },
  { code: 0x68, call: "C_SignInit", expected: "fatal" },
  { code: 0x11, call: "C_GetAttributeValue", expected: "fatal" },
  { code: 0x1b, call: "C_SetAttributeValue", expected: "fatal" },
  { code: 0x4321, call: "C_Sign", expected: "device" },
  { code: 0x8000_0077, call: "C_Sign", expected: "device" },
] as const)("$call answering $code is of class $expected (PF-1 to PF-23)", ({ code, call, expected }) => {
  expect(returnClass(code, call)).toBe(expected);
});

test("the number is read from the error's code, or from its text where the binding sets none (PT-26)", () => {
  expect(returnCodeOf(Object.assign(new Error("CKR_PIN_INCORRECT"), { code: 160 }))).toBe(160);
  expect(returnCodeOf(new Error("CKR_ATTRIBUTE_READ_ONLY:16"))).toBe(16);
  expect(returnCodeOf(new Error("CKR_VENDOR_DEFINED:27"))).toBe(0x1b);
  expect(returnCodeOf(new Error("/no/such.so: cannot open shared object file"))).toBeUndefined();
  expect(returnCodeOf("CKR_OK:0")).toBeUndefined();
  expect(returnName(0x8000_0077)).toBe("0x80000077");
});
