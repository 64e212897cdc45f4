import { type AuditRow, auditRow, type AuditWorld } from "../audit/entry.ts";
import { Fault } from "../fault.ts";
import type { AccountKey } from "../jose/jwk.ts";
import type { JsonObject } from "../jose/json.ts";

/** @see RFC 8555 §7.1.6 */
export type AccountStatus = "valid" | "deactivated" | "revoked";

/** Who orders certificates. The id is an identity: it stands in the account's URL for ever (RFC 8555 §7.1.2). */
export type Account = {
  /** 128 random bits in base64url. */
  readonly id: string;
  /** Name of its directory. */
  readonly directory: string;
  readonly namespace: string;
  readonly key: AccountKey;
  readonly status: AccountStatus;
  readonly contact: readonly string[];
  /** URL of the terms that were agreed to. */
  readonly termsAgreed?: string;
  /** Id of the key it was bound with, and the binding as it was sent (RFC 8555 §7.3.4). */
  readonly externalAccountKey?: string;
  readonly externalAccountBinding?: JsonObject;
  readonly createdAt: Date;
};

/** The account, if it has not ended. @throws Fault `accountInactive` @see RFC 8555 §7.3.6 */
export function active(account: Account): Account {
  if (account.status !== "valid") throw new Fault("accountInactive", `the account is ${account.status}`);
  return account;
}

/** Who an account is in audit records and issuance. */
export function principalOf({ id, namespace }: Pick<Account, "id" | "namespace">): { readonly id: string; readonly namespace: string } {
  return { id: `acme:${id}`, namespace };
}

/** The audit record of what an account did with itself. */
export function accountAudit(world: AuditWorld, operation: string, account: Account, requestId: string): AuditRow {
  const { directory, key } = account;
  const principal = principalOf(account);
  return auditRow(
    {
      operation,
      namespace: account.namespace,
      principal: principal.id,
      outcome: "success",
      requestId,
      object: {
        account: account.id,
        directory,
        thumbprint: key.thumbprint,
        ...(account.externalAccountKey !== undefined && { externalAccountKey: account.externalAccountKey }),
      },
    },
    world,
  );
}
