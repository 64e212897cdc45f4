import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { calibration, type Machine } from "./machine.ts";
import { aimsList, markdown } from "./markdown.ts";
import { median, medians } from "./median.ts";
import type { Measurement } from "./window.ts";

/** Everything measured at one number of callers, one entry a round. */
export type Row = {
  readonly callers: number;
  readonly chancery: Measurement[];
  readonly stepCa: Measurement[];
  /** Signatures per second: through the service's HSM client, and of pkcs11js alone. */
  readonly host: number[];
  readonly raw: number[];
};

/** What a run was: how often and where it measured. */
export type Circumstances = Machine & { readonly rounds: number; readonly stepCa: boolean };

/** The figures as Markdown: medians of the rounds, and the ratios within this run, by which runs on other machines compare. */
export function table(rows: readonly Row[], circumstances: Circumstances): string {
  const lines = rows.map((row) => {
    const ours = medians(row.chancery);
    const theirs = row.stepCa.length > 0 ? medians(row.stepCa) : undefined;
    const raw = median(row.raw);
    return {
      callers: row.callers,
      "certificates/s": ours.perSecond.toFixed(0),
      "p50 ms": ours.p50Ms.toFixed(1),
      "p99 ms": ours.p99Ms.toFixed(1),
      "CPU ms each": ours.cpuMsEach.toFixed(2),
      "SQL round trips each": ours.roundTripsEach?.toFixed(2) ?? "–",
      "HSM client/s": median(row.host).toFixed(0),
      "raw C_Sign/s": raw.toFixed(0),
      "÷ raw C_Sign": (ours.perSecond / raw).toFixed(2),
      "step-ca/s": theirs?.perSecond.toFixed(0) ?? "–",
      "step-ca p99 ms": theirs?.p99Ms.toFixed(1) ?? "–",
      "step-ca CPU ms each": theirs?.cpuMsEach.toFixed(2) ?? "–",
      "÷ step-ca": theirs ? (ours.perSecond / theirs.perSecond).toFixed(2) : "–",
    };
  });
  const { rounds, cores, stepCa } = circumstances;
  return [
    markdown(lines),
    "",
    `Median of ${rounds}, contestants alternating; ${cores} cores shared with the load client; every key P-256, every request over TLS 1.3 and HTTP/1.1, kept alive.`,
    `Ours is durable in PostgreSQL and signs in a token${stepCa ? "; step-ca keeps its rows in its embedded store and its key in memory" : ""}.`,
    ...aims(rows),
    calibration(circumstances),
  ].join("\n");
}

/** What issuance is to reach, beside what this run measured; a machine that is busy with other work misses them without any fault of the code. */
function aims(rows: readonly Row[]): string[] {
  const [at32, at64] = [32, 64].map((callers) => rows.find((row) => row.callers === callers));
  if (at32 === undefined || at64 === undefined) return [];
  const [ours, more] = [medians(at32.chancery), medians(at64.chancery)];
  const peer = at32.stepCa.length > 0 ? ours.perSecond / medians(at32.stepCa).perSecond : Number.NaN;
  const all = [
    { aim: "at least 1.1 × step-ca at 32 callers", value: peer, met: peer >= 1.1 },
    { aim: "at most 1.0 ms of CPU each at 32 callers", value: ours.cpuMsEach, met: ours.cpuMsEach <= 1 },
    {
      aim: "at most 0.5 SQL round trips each at 32 callers",
      value: ours.roundTripsEach ?? Number.NaN,
      met: (ours.roundTripsEach ?? 1) <= 0.5,
    },
    { aim: "p99 of at most 45 ms at 32 callers", value: ours.p99Ms, met: ours.p99Ms <= 45 },
    { aim: "p99 of at most 90 ms at 64 callers", value: more.p99Ms, met: more.p99Ms <= 90 },
  ];
  return [aimsList(all)];
}

/** Writes `report.md` and `report.json` into `directory`. */
export async function writeBenchReport(directory: string, rows: readonly Row[], circumstances: Circumstances): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "report.md"), `# Issuance over REST\n\n${table(rows, circumstances)}\n`);
  await writeFile(join(directory, "report.json"), `${JSON.stringify({ circumstances, rows }, undefined, 2)}\n`);
}
