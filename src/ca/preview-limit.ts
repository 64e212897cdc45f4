import { Fault } from "../fault.ts";

/** A count may go through every certificate for seconds: fewer at a time than there are connections. */
const atOnce = 2;

/** The same act, of which two run at a time in this process; the next throws Fault `busy`. */
export function limitPreviews<Args extends readonly unknown[], T>(preview: (...args: Args) => Promise<T>): (...args: Args) => Promise<T> {
  let running = 0;
  return async (...args) => {
    if (running >= atOnce) throw new Fault("busy", `${atOnce} previews are being counted, which is the most allowed: ask again`);
    running += 1;
    try {
      return await preview(...args);
    } finally {
      running -= 1;
    }
  };
}
