import { spawn } from "node:child_process";
import { once } from "node:events";
import { type CpuSeconds, cpuSeconds, parts } from "./processes.ts";

/** What a part of the bench is given: the load client, a directory of its own, and whom to tell what it does. */
export type Part = {
  readonly load: string;
  readonly directory: string;
  readonly quick: boolean;
  readonly tell: (line: string) => void;
};

/** A server under load: how the load client asks it, and which processes work for it. */
export type Contestant = {
  readonly name: string;
  /** Parameters of the load client that choose server, trust and credentials. */
  readonly parameters: readonly string[];
  readonly processes: readonly number[];
  /** SQL round trips so far, where the server counts them. */
  readonly roundTrips?: () => Promise<number>;
  /** Transactions that have written so far, where the database can be asked. */
  readonly commits?: () => Promise<number>;
};

/** What one window measured. */
export type Measurement = {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
  readonly cpuMsEach: number;
  readonly cpuMsByPart: CpuSeconds;
  readonly httpRequestsEach: number;
  readonly roundTripsEach?: number;
  readonly commitsEach?: number;
  /** Certificates that were not had, and those of them for an answer of 500 or more. */
  readonly errors: number;
  readonly serverErrors: number;
  readonly firstError?: string;
};

/** How much is asked: so many certificates, or those of so many seconds, whichever is over first. */
export type Load = { readonly callers: number; readonly requests: number; readonly seconds?: number };

/** What the load client writes when it is done. */
type LoadResult = {
  readonly certificates: number;
  readonly httpRequests: number;
  readonly errors: number;
  readonly serverErrors: number;
  readonly firstError?: string;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
};

/**
 * `tryWindow` for a contestant that must not fail.
 * @throws Error when a request fails: a figure of a server that refuses says nothing.
 */
export async function measureWindow(load: string, contestant: Contestant, asked: Load): Promise<Measurement> {
  const measured = await tryWindow(load, contestant, asked);
  if (measured.errors > 0) throw new Error(`${contestant.name}: ${measured.errors} failed: ${measured.firstError}`);
  return measured;
}

/** Has callers ask `contestant` for certificates; CPU, round trips and commits are those between the first request and the last answer. */
export async function tryWindow(load: string, contestant: Contestant, { callers, requests, seconds = 0 }: Load): Promise<Measurement> {
  const numbers = ["-callers", String(callers), "-requests", String(requests), "-seconds", String(seconds)];
  const child = spawn(load, [...contestant.parameters, ...numbers], { stdio: ["pipe", "pipe", "pipe"] });
  const written: string[] = [];
  const words: string[] = [];
  child.stdout.on("data", (chunk: Buffer) => written.push(chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => words.push(chunk.toString()));
  const ended = once(child, "exit");
  const failed = async (): Promise<never> => {
    await ended;
    throw new Error(`${contestant.name}: the load client ended: ${words.join("").slice(-1000)}`);
  };
  if (!written.join("").includes("ready")) await Promise.race([once(child.stdout, "data"), failed()]);
  // The questions cost CPU themselves: they stand outside of the two readings of it.
  const before = { ...(await counts(contestant)), cpu: await cpuSeconds(contestant.processes) };
  child.stdin.end("go\n");
  const [status] = (await ended) as [number | null];
  const after = { cpu: await cpuSeconds(contestant.processes), ...(await counts(contestant)) };
  if (status !== 0) await failed();
  const { certificates, ...result } = JSON.parse(written.join("").replace("ready", "")) as LoadResult;
  const each = (from: number, to: number): number => (to - from) / certificates;
  const byPart = parts.map((part) => [part, each(before.cpu[part] ?? 0, after.cpu[part] ?? 0) * 1000] as const);
  const counted = <Key extends "roundTrips" | "commits">(key: Key) => {
    const [from, to] = [before[key], after[key]];
    return from === undefined || to === undefined ? {} : { [`${key}Each` as const]: each(from, to) };
  };
  return {
    perSecond: certificates / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    longestMs: result.longestMs,
    cpuMsEach: byPart.reduce((sum, [, milliseconds]) => sum + milliseconds, 0),
    cpuMsByPart: Object.fromEntries(byPart),
    httpRequestsEach: each(0, result.httpRequests),
    errors: result.errors,
    serverErrors: result.serverErrors,
    ...(result.firstError === undefined ? {} : { firstError: result.firstError }),
    ...counted("roundTrips"),
    ...counted("commits"),
  };
}

async function counts({ roundTrips, commits }: Contestant) {
  return { roundTrips: await roundTrips?.(), commits: await commits?.() };
}
