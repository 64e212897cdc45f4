import { readFileSync } from "node:fs";

/**
 * How many descriptors this process may have open (the soft RLIMIT_NOFILE, which Node raises to the hard one when it starts); undefined where
 * the system does not tell, or sets no limit.
 * @see proc_pid_limits(5)
 */
export function descriptorLimit(): number | undefined {
  let limits: string;
  try {
    limits = readFileSync("/proc/self/limits", "latin1");
  } catch {
    return undefined;
  }
  const soft = /^Max open files +(\d+) /m.exec(limits)?.[1];
  return soft === undefined ? undefined : Number(soft);
}
