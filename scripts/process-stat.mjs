import { readFileSync } from "node:fs";
import { systemCode } from "./say.mjs";

/**
 * What Linux tells of process `pid`: its command, state letter, parent and start (in ticks since boot); undefined when there
 * is none.
 * @param {number} pid
 * @see proc(5), /proc/pid/stat
 */
export function processStat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command, in parentheses, may itself hold spaces and parentheses; what follows it is the state, field 3.
    const end = text.lastIndexOf(")");
    const [state, parent, ...rest] = text.slice(end + 2).split(" ");
    return { command: text.slice(text.indexOf("(") + 1, end), state, parent: Number(parent), start: rest[17] };
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ESRCH") return undefined;
    throw error;
  }
}
