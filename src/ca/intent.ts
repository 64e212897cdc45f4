import { hash } from "node:crypto";
import { auditRow } from "../audit/entry.ts";
import type { IntentRow } from "./attempt-store.ts";
import type { Ca } from "./ca.ts";

/** An intent with its audit record; `requestId` is the door's, `order` the order that is issued, where there is one. */
export function intentRow(
  ca: Ca,
  row: Omit<IntentRow, "audit" | "tbsSha256">,
  { requestId, order }: { readonly requestId?: string | undefined; readonly order?: string | undefined } = {},
): IntentRow {
  const tbsSha256 = hash("sha256", row.tbs, "hex");
  const audit = auditRow(
    {
      operation: "certificate.issue",
      namespace: row.namespace,
      principal: row.principal,
      outcome: "success",
      ...(requestId !== undefined && { requestId }),
      object: {
        authority: row.authority,
        serial: Buffer.from(row.serial).toString("hex"),
        attempt: row.attempt,
        ...(order !== undefined && { order }),
        request: Buffer.from(row.requestId).toString("hex"),
        profile: Buffer.from(row.profileSha256).toString("hex"),
        tbs: tbsSha256,
      },
    },
    ca,
  );
  return { ...row, tbsSha256, audit };
}

/** 16 octets: 0x40, six random bits below it, and 120 more: positive, of one length, 126 bits of randomness (RFC 5280 §4.1.2.2). */
export function drawSerial(ca: Pick<Ca, "random">): string {
  const serial = ca.random.bytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  return Buffer.from(serial).toString("hex");
}
