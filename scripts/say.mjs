/** A reason to stop that the person at the keyboard can act on: one sentence, shown without a stack trace. */
export class Refusal extends Error {}

/**
 * Writes a progress line. It goes to stderr, so that a command's stdout can be piped.
 * @param {string} line
 */
export function say(line) {
  process.stderr.write(`chancery: ${line}\n`);
}

/**
 * The error code Node gives to a failed system call (`ENOENT`, `EEXIST` …), or undefined for any other error.
 * @param {unknown} error
 */
export function systemCode(error) {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
