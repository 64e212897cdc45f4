/** A table with the keys of the rows as its head; all rows have the same keys. */
export function markdown(rows: readonly Readonly<Record<string, string | number>>[]): string {
  const header = Object.keys(rows[0] ?? {});
  const cells = [header, header.map(() => "---"), ...rows.map((row) => Object.values(row))];
  return cells.map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** What a part is to reach, beside what it measured. */
export type Aim = { readonly aim: string; readonly value: number; readonly met: boolean };

/** The aims as a list; a value that is not a number was not measured. */
export function aimsList(aims: readonly Aim[]): string {
  const lines = aims.map(({ aim, value, met }) => {
    const outcome = Number.isNaN(value) ? "not measured" : `${value.toFixed(2)}, ${met ? "met" : "missed"}`;
    return `- ${aim}: ${outcome}`;
  });
  return ["", "Aims:", "", ...lines, ""].join("\n");
}
