/** The cells of a row of a Markdown table, without the blanks around them. */
export function cellsOf(line: string): string[] {
  return line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}

/** A row of a Markdown table. */
export function lineOf(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
