import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Peers } from "./peers.ts";

/** The peers without which a run proves too little: it fails when one of them judged nothing. */
export const fixedPeers = ["openssl", "gnutls", "java", "go", "nginx+curl", "zlint", "pkilint"] as const;

/** Who judged: a peer of the fixed list, or the run itself comparing bytes. */
export type PeerName = (typeof fixedPeers)[number] | "chancery";

/** One judgement: what was judged, by whom, and what is wrong (nothing when it passed). */
export type Outcome = {
  readonly subject: string;
  readonly peer: PeerName;
  readonly check: string;
  readonly complaint: string | undefined;
};

/** What every subject is handed: where outcomes go, and the peers of this machine. */
export type Run = { readonly matrix: Matrix; readonly peers: Peers };

/** Collects the outcomes of a run. */
export type Matrix = {
  /** Records the complaint that `judge` gives, undefined for none; what it throws is a complaint too. */
  check(where: { subject: string; peer: PeerName; check: string }, judge: () => Promise<string | undefined>): Promise<void>;
  readonly outcomes: readonly Outcome[];
};

/** An empty matrix; `tell` hears of each failure as it happens. */
export function newMatrix(tell: (line: string) => void): Matrix {
  const outcomes: Outcome[] = [];
  return {
    outcomes,
    async check(where, judge) {
      const complaint = await judge().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
      outcomes.push({ ...where, complaint });
      if (complaint !== undefined) tell(`FAILED ${where.subject} · ${where.peer} · ${where.check}: ${complaint}`);
    },
  };
}

/** Peers of the fixed list that judged nothing. */
export function silentPeers(outcomes: readonly Outcome[]): string[] {
  return fixedPeers.filter((peer) => !outcomes.some((outcome) => outcome.peer === peer));
}

/** A table in Markdown: one row a subject, one column a peer, passed/all in each cell. */
export function matrixTable(outcomes: readonly Outcome[]): string {
  const peers = [...fixedPeers, "chancery"].filter((peer) => outcomes.some((outcome) => outcome.peer === peer));
  const subjects = [...new Set(outcomes.map(({ subject }) => subject))];
  const cell = (subject: string, peer: string): string => {
    const own = outcomes.filter((outcome) => outcome.subject === subject && outcome.peer === peer);
    const passed = own.filter(({ complaint }) => complaint === undefined).length;
    return own.length === 0 ? "–" : passed === own.length ? `${passed}` : `${passed} of ${own.length} FAILED`;
  };
  const width = Math.max(...subjects.map((subject) => subject.length), 7);
  const row = (first: string, cells: string[]): string =>
    `| ${first.padEnd(width)} | ${cells.map((text, at) => text.padEnd(Math.max(peers[at]?.length ?? 0, 6))).join(" | ")} |`;
  const rule = row(
    "-".repeat(width),
    peers.map((peer) => "-".repeat(Math.max(peer.length, 6))),
  );
  return [
    row("Subject", [...peers]),
    rule,
    ...subjects.map((subject) =>
      row(
        subject,
        peers.map((peer) => cell(subject, peer)),
      ),
    ),
  ].join("\n");
}

/** Writes `report.json` and `report.md` into `directory`. */
export async function writeReport(
  directory: string,
  report: { versions: Record<string, string>; outcomes: readonly Outcome[] },
): Promise<void> {
  const { versions, outcomes } = report;
  const failed = outcomes.filter(({ complaint }) => complaint !== undefined);
  const lines = [
    "# Conformance",
    "",
    matrixTable(outcomes),
    "",
    "## Peers",
    "",
    ...Object.entries(versions).map(([peer, version]) => `- ${peer}: ${version}`),
    "",
    "## Failed",
    "",
    ...(failed.length === 0 ? ["None."] : failed.map((one) => `- ${one.subject}, ${one.peer}, ${one.check}: ${one.complaint}`)),
    "",
  ];
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "report.md"), lines.join("\n"));
  await writeFile(join(directory, "report.json"), `${JSON.stringify({ versions, outcomes }, undefined, 2)}\n`);
}
