/** A command to copy into a POSIX shell: the variables that have a value before it, each quoted where it has to be. */
export function commandLine(variables: Readonly<Record<string, string | undefined>>, command: string): string {
  const settings = Object.entries(variables).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${shellWord(value)} `]));
  return `${settings.join("")}${command}`;
}

/** One word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
