import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { calibration, type Machine } from "./machine.ts";
import { type Aim, aimsList, markdown } from "./markdown.ts";
import { median } from "./median.ts";

/** Certificates a second, at once and one by one, and how long one took. */
export type RevocationRound = { readonly atOnce: number; readonly oneByOne: number; readonly p50Ms: number; readonly p99Ms: number };

export type RevocationReport = {
  readonly rounds: readonly RevocationRound[];
  readonly circumstances: Machine & { readonly rounds: number; readonly many: number; readonly single: number; readonly callers: number };
};

/** The figures as Markdown: medians of the rounds. */
export function revocationTable({ rounds, circumstances }: RevocationReport): string {
  const of = (pick: (round: RevocationRound) => number) => median(rounds.map(pick));
  const atOnce = of((round) => round.atOnce);
  const oneByOne = of((round) => round.oneByOne);
  const { many, single, callers, cores } = circumstances;
  const aims: readonly Aim[] = [{ aim: "at least 1,000 certificates a second at once", value: atOnce, met: atOnce >= 1_000 }];
  return [
    markdown([
      { way: `POST /v1/revocations, ${many} certificates`, "certificates/s": atOnce.toFixed(0), "p50 ms": "–", "p99 ms": "–" },
      {
        way: `POST /v1/certificates/{serial}/revoke, ${single} by ${callers} callers`,
        "certificates/s": oneByOne.toFixed(0),
        "p50 ms": of((round) => round.p50Ms).toFixed(1),
        "p99 ms": of((round) => round.p99Ms).toFixed(1),
      },
    ]),
    "",
    `At once it is ${(atOnce / oneByOne).toFixed(1)} × as fast. Each certificate is revoked with an audit record of its own, durable in PostgreSQL; at once, from the request until the last pass over what was issued meanwhile.`,
    `Median of ${circumstances.rounds}; ${cores} cores shared with the client; over TLS 1.3 and HTTP/1.1, kept alive.`,
    aimsList(aims),
    calibration(circumstances),
  ].join("\n");
}

/** Writes `revocation.md` and `revocation.json` into `directory`. */
export async function writeRevocationReport(directory: string, report: RevocationReport): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "revocation.md"), `# Revocation\n\n${revocationTable(report)}\n`);
  await writeFile(join(directory, "revocation.json"), `${JSON.stringify(report, undefined, 2)}\n`);
}
