import { type Command, InvalidArgumentError } from "commander";

/** How a command presents itself. */
export type CommandText = {
  /** Name and arguments, as commander takes them: `show <serial>`. */
  readonly usage: string;
  /** A few words for the list of commands; the whole description unless given. */
  readonly summary?: string;
  readonly description: string;
  /** Whole lines to copy; each one runs as it stands on an evaluation's service. */
  readonly examples: readonly [string, ...string[]];
};

/** Adds a command to `parent`, with `--json` and its examples; options and action are the caller's. */
export function addCommand(parent: Command, { usage, description, summary = description, examples }: CommandText): Command {
  return parent
    .command(usage)
    .description(description)
    .summary(summary)
    .option("--json", "print one JSON document instead of text")
    .allowExcessArguments(false)
    .addHelpText("after", exampleText(examples));
}

/** Adds a command that only holds others, with its examples. */
export function addGroup(parent: Command, { usage, description, examples }: Omit<CommandText, "summary">): Command {
  return parent.command(usage).description(description).addHelpText("after", exampleText(examples));
}

/** Examples as they stand at the end of a help text. */
export function exampleText(examples: readonly string[]): string {
  return `\nExample${examples.length > 1 ? "s" : ""}:\n${examples.map((line) => `  ${line}\n`).join("")}`;
}

/**
 * Parses a whole number between `minimum` and `maximum`, for an option.
 * @throws InvalidArgumentError outside of them.
 */
export function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= minimum && value <= maximum)) throw new InvalidArgumentError(`It is a whole number from ${minimum} to ${maximum}.`);
    return value;
  };
}

/** Adds `--limit`: how many of `what` a list shows. */
export function limitOption(command: Command, what: string): Command {
  return command.option("--limit <number>", `at most this many ${what}, 1 to 1000000`, wholeNumber(1, 1_000_000), 100);
}

const largestPage = 1000;

/** The first `limit` of a list that comes in pages of a size, with a line for the reader where there are more. */
export async function firstOf<Item>(
  pages: (pageSize: number) => AsyncIterable<readonly Item[]>,
  limit: number,
): Promise<{ readonly items: readonly Item[]; readonly more: boolean; readonly rest: string }> {
  const items: Item[] = [];
  for await (const page of pages(Math.min(limit + 1, largestPage))) {
    items.push(...page);
    if (items.length > limit) break;
  }
  const more = items.length > limit;
  return { items: items.slice(0, limit), more, rest: more ? `there are more: raise --limit (now ${limit}) or narrow the search\n` : "" };
}
