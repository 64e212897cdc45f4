import { Fault } from "../fault.ts";

/**
 * Reads a namespace: "/" for all, or a path like "/team-a/web" of at most 8 levels, each of lower-case letters, digits and inner hyphens.
 * @throws Fault `malformed` saying what is wrong with it.
 */
export function parseNamespace(text: string): string {
  if (text === "/") return text;
  if (text.length > maxCharacters) throw new Fault("malformed", `the namespace has ${text.length} characters, more than ${maxCharacters}`);
  const [root, ...levels] = text.split("/");
  if (root !== "" || levels.length === 0) throw new Fault("malformed", `the namespace ${JSON.stringify(text)} does not begin with /`);
  if (levels.length > maxLevels) throw new Fault("malformed", `the namespace has ${levels.length} levels, more than ${maxLevels}`);
  const wrong = levels.find((level) => !/^[a-z0-9-]+$/.test(level) || level.startsWith("-") || level.endsWith("-"));
  if (wrong !== undefined)
    throw new Fault(
      "malformed",
      `the namespace has the level ${JSON.stringify(wrong)}; levels are lower-case letters, digits and inner hyphens`,
    );
  return text;
}

/** Whether `inner` is `outer` or lies within it: "/a" contains "/a/b" but not "/ab". */
export function contains(outer: string, inner: string): boolean {
  return outer === "/" || inner === outer || inner.startsWith(`${outer}/`);
}

const maxCharacters = 128;
const maxLevels = 8;
