import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { abilities, cachedClients, fixedClients, passes, type ClientName } from "./acme/ability.ts";
import type { Peers } from "./peers.ts";
import { tools } from "./revocation/method.ts";

/** The peers without which a run proves too little: it fails when one of them judged nothing. */
export const fixedPeers = [...tools, "zlint", "pkilint"] as const;

/** Who judged: a peer of the fixed list, or the run itself comparing bytes. */
export type PeerName = (typeof fixedPeers)[number] | ClientName | "chancery";

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

/** Those of `peers` that judged nothing. */
export function silentPeers(outcomes: readonly Outcome[], peers: readonly PeerName[]): string[] {
  return peers.filter((peer) => !outcomes.some((outcome) => outcome.peer === peer));
}

/** A table in Markdown: one row a subject, one column a peer, passed/all in each cell. */
export function matrixTable(outcomes: readonly Outcome[]): string {
  const peers = [...fixedPeers, "chancery"].filter((peer) => outcomes.some((outcome) => outcome.peer === peer));
  const judged = outcomes.filter(({ peer }) => peers.includes(peer));
  const subjects = [...new Set(judged.map(({ subject }) => subject))];
  const cell = (subject: string, peer: string): string => passed(judged.filter((one) => one.subject === subject && one.peer === peer));
  return table("Subject", subjects, { columns: peers, cell });
}

/** A table in Markdown: one row an ACME client, one column an ability or a pass. */
export function clientTable(outcomes: readonly Outcome[]): string {
  const clients = [...fixedClients, ...cachedClients].filter((client) => outcomes.some(({ peer }) => peer === client));
  const cell = (client: string, subject: string): string =>
    passed(outcomes.filter((one) => one.peer === client && one.subject === subject));
  return table("Client", clients, { columns: [...abilities, ...passes], cell });
}

function passed(outcomes: readonly Outcome[]): string {
  const good = outcomes.filter(({ complaint }) => complaint === undefined).length;
  return outcomes.length === 0 ? "–" : good === outcomes.length ? `${good}` : `${good} of ${outcomes.length} FAILED`;
}

function table(
  heading: string,
  rows: readonly string[],
  { columns, cell }: { columns: readonly string[]; cell: (row: string, column: string) => string },
): string {
  const width = Math.max(...rows.map((name) => name.length), heading.length);
  const line = (first: string, cells: readonly string[]): string =>
    `| ${first.padEnd(width)} | ${cells.map((text, at) => text.padEnd(Math.max(columns[at]?.length ?? 0, 6))).join(" | ")} |`;
  const rule = columns.map((name) => "-".repeat(Math.max(name.length, 6)));
  const body = rows.map((row) => {
    const cells = columns.map((column) => cell(row, column));
    return line(row, cells);
  });
  return [line(heading, columns), line("-".repeat(width), rule), ...body].join("\n");
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
    ...(outcomes.some(({ peer }) => isOf(fixedPeers, peer)) ? [matrixTable(outcomes), ""] : []),
    ...(outcomes.some(({ peer }) => isOf(fixedClients, peer)) ? ["## ACME clients", "", clientTable(outcomes), ""] : []),
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

function isOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}
