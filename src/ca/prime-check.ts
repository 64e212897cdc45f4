import { Fault } from "../fault.ts";
import { modulusIsPrime } from "../pki/key-policy.ts";

/** Whether the modulus of an RSA key is a prime, as `modulusIsPrime` has it. @throws Fault `busy` when too many keys wait for their turn. */
export type PrimeCheck = (spki: Uint8Array) => Promise<boolean>;

/** Half of the threads that the process has for this, for signatures and for files. */
const atOnce = 2;
/** The last in line waits for five seconds where all the keys before it have 8192 bits. */
const mostWaiting = 64;

/**
 * The check for a whole process. One key takes up to 140 ms of a processor, and anybody may bring one: two are judged at a time, a few wait,
 * and the rest are told to come again.
 */
export function openPrimeCheck(judge: (spki: Uint8Array) => Promise<boolean> = modulusIsPrime): PrimeCheck {
  let judging = 0;
  const waiting: (() => void)[] = [];
  return async (spki) => {
    if (judging >= atOnce) {
      if (waiting.length >= mostWaiting) throw new Fault("busy", "too many RSA keys wait to be judged: ask again");
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else judging += 1;
    try {
      return await judge(spki);
    } finally {
      // Its place goes to the next in line, if there is one.
      const next = waiting.shift();
      if (next) next();
      else judging -= 1;
    }
  };
}
