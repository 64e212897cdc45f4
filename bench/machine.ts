import { generateKeyPairSync, sign } from "node:crypto";
import { availableParallelism, loadavg } from "node:os";

/** What the machine was like when a part began. */
export type Machine = {
  readonly cores: number;
  /** Processes that were running or waiting, by the one-minute average. */
  readonly loadAverage: number;
  /** P-256, by Node itself on one thread. */
  readonly nodeSignaturesPerSecond: number;
};

/** Looks at the machine; takes a third of a second of one core. */
export function machine(): Machine {
  const [loadAverage = 0] = loadavg();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const bytes = Buffer.alloc(500);
  const begun = performance.now();
  const signatures = 10_000;
  for (let count = 0; count < signatures; count++) sign("sha256", bytes, privateKey);
  return { cores: availableParallelism(), loadAverage, nodeSignaturesPerSecond: signatures / ((performance.now() - begun) / 1000) };
}

/** The sentence by which runs on other machines, or on a busy one, compare. */
export function calibration({ nodeSignaturesPerSecond, loadAverage }: Machine): string {
  return `Calibration: ${nodeSignaturesPerSecond.toFixed(0)} P-256 signatures per second by Node's own crypto on one thread; load average ${loadAverage.toFixed(1)} when the run began.`;
}
