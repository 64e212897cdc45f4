import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { calibration, type Machine } from "./machine.ts";
import { type Aim, aimsList, markdown } from "./markdown.ts";
import { median } from "./median.ts";
import type { Delay } from "./revocation-delay.ts";
import type { KeptRate, KeptRates } from "./revocation-kept.ts";

/** Certificates a second, at once and one by one, and how long one took; and what kept OCSP answers came to beside a revocation of many. */
export type RevocationRound = {
  readonly atOnce: number;
  readonly oneByOne: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly kept: KeptRates;
};

export type RevocationReport = {
  readonly rounds: readonly RevocationRound[];
  readonly delays: readonly Delay[];
  readonly circumstances: Machine & { readonly rounds: number; readonly many: number; readonly single: number; readonly callers: number };
};

/** The figures as Markdown: medians of the rounds. */
export function revocationTable({ rounds, delays, circumstances }: RevocationReport): string {
  const of = (pick: (round: RevocationRound) => number) => median(rounds.map(pick));
  const atOnce = of((round) => round.atOnce);
  const oneByOne = of((round) => round.oneByOne);
  const { many, single, callers, cores } = circumstances;
  const ocsp = delays.map(({ ocspMs }) => ocspMs / 1000);
  const crl = delays.map(({ crlMs }) => crlMs / 1000);
  const unaffected = of(({ kept }) => share(kept.meanwhile) / share(kept.before));
  const aims: readonly Aim[] = [
    { aim: "at least 1,000 certificates a second at once", value: atOnce, met: atOnce >= 1_000 },
    { aim: "revoked by OCSP within 1 s", value: Math.max(...ocsp), met: Math.max(...ocsp) <= 1 },
    { aim: "in the CRL within 60 s", value: Math.max(...crl), met: Math.max(...crl) <= 60 },
    {
      aim: "while many are revoked, kept OCSP answers at least 0.8 × as before, each beside bare node:http",
      value: unaffected,
      met: unaffected >= 0.8,
    },
  ];
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
    markdown([
      { "from the request to revoke": "until OCSP says revoked, where the good answer was kept", ...seconds(ocsp) },
      { "from the request to revoke": "until the CRL that is served lists it", ...seconds(crl) },
    ]),
    "",
    markdown(
      (["before", "meanwhile"] as const).map((when) => ({
        "a kept OCSP answer by GET": when === "before" ? "before a revocation of many" : "while it goes on",
        "answers/s": of(({ kept }) => kept[when].kept.perSecond).toFixed(0),
        "p99 ms": of(({ kept }) => kept[when].kept.p99Ms).toFixed(1),
        "bare node:http/s": of(({ kept }) => kept[when].bare.perSecond).toFixed(0),
        "bare p99 ms": of(({ kept }) => kept[when].bare.p99Ms).toFixed(1),
        "÷ bare": of(({ kept }) => share(kept[when])).toFixed(2),
      })),
    ),
    "",
    `At once it is ${(atOnce / oneByOne).toFixed(1)} × as fast. Each certificate is revoked with an audit record of its own, durable in PostgreSQL; at once, from the request until the last pass over what was issued meanwhile.`,
    `Median of ${circumstances.rounds}; ${cores} cores shared with the client; over TLS 1.3 and HTTP/1.1, kept alive. ${delays.length} revocations one after the other were watched at the status listener of one instance, which looks for revocations twice a second and publishes every five.`,
    aimsList(aims),
    calibration(circumstances),
  ].join("\n");
}

/** Against bare node:http in the same seconds: what that loses as well are the cores, on which the database works too. */
const share = ({ kept, bare }: KeptRate): number => kept.perSecond / bare.perSecond;

function seconds(values: readonly number[]) {
  return { "median s": median(values).toFixed(2), "longest s": Math.max(...values).toFixed(2) };
}

/** Writes `revocation.md` and `revocation.json` into `directory`. */
export async function writeRevocationReport(directory: string, report: RevocationReport): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "revocation.md"), `# Revocation\n\n${revocationTable(report)}\n`);
  await writeFile(join(directory, "revocation.json"), `${JSON.stringify(report, undefined, 2)}\n`);
}
