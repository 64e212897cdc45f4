import type { Tx } from "../database/connect.ts";
import type { Sql } from "../database/connection.ts";

/** A halt of issuance that has not been resumed. */
export type Halt = {
  /** 32 hex digits: names it in audit records. */
  readonly id: string;
  readonly haltedAt: Date;
  readonly haltedBy: string;
  /** As the administrator gave it: one line. */
  readonly reason: string;
};

/** The halt that stands; undefined while issuance goes on. */
export async function readHalt(sql: Sql): Promise<Halt | undefined> {
  const [row] = await sql<Halt[]>`
    select id, halted_at as "haltedAt", halted_by as "haltedBy", reason from issuance_halt where resumed_at is null`;
  return row;
}

/** Halts issuance. @returns false when it is halted: that halt stands as it is. */
export async function recordHalt({ sql }: Tx, { id, haltedAt, haltedBy, reason }: Halt): Promise<boolean> {
  const result = await sql`
    insert into issuance_halt (id, halted_at, halted_by, reason) values (${id}, ${haltedAt.toISOString()}, ${haltedBy}, ${reason})
    on conflict do nothing`;
  return result.count === 1;
}

/** Who lets issuance go on, when and why. */
export type Resumption = { readonly resumedAt: Date; readonly resumedBy: string; readonly reason: string };

/** Lets issuance go on. @returns the halt that ends; undefined when there is none. */
export async function recordResumption({ sql }: Tx, { resumedAt, resumedBy, reason }: Resumption): Promise<Halt | undefined> {
  const [row] = await sql<Halt[]>`
    update issuance_halt set resumed_at = ${resumedAt.toISOString()}, resumed_by = ${resumedBy}, resume_reason = ${reason}
    where resumed_at is null returning id, halted_at as "haltedAt", halted_by as "haltedBy", reason`;
  return row;
}
