import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpuSeconds } from "./processes.ts";

/** A server under load: how the load client asks it, and which processes work for it. */
export type Contestant = {
  readonly name: string;
  /** Parameters of the load client that choose server, trust and credentials. */
  readonly parameters: readonly string[];
  readonly processes: readonly number[];
  /** SQL round trips so far, where the server counts them. */
  readonly roundTrips?: () => Promise<number>;
};

/** What one window measured. */
export type Measurement = {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMsEach: number;
  readonly roundTripsEach?: number;
};

/** What the load client writes when it is done. */
type LoadResult = {
  readonly requests: number;
  readonly errors: number;
  readonly firstError?: string;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

/**
 * Has `callers` callers ask `contestant` for `requests` certificates in all; CPU and round trips are those between the first request and the last answer.
 * @throws Error when a request fails: a figure of a server that refuses says nothing.
 */
export async function measureWindow(
  load: string,
  contestant: Contestant,
  { callers, requests }: { callers: number; requests: number },
): Promise<Measurement> {
  const numbers = ["-callers", String(callers), "-requests", String(requests)];
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
  const before = { cpu: await cpuSeconds(contestant.processes), trips: await contestant.roundTrips?.() };
  child.stdin.end("go\n");
  const [status] = (await ended) as [number | null];
  const after = { cpu: await cpuSeconds(contestant.processes), trips: await contestant.roundTrips?.() };
  if (status !== 0) await failed();
  const result = JSON.parse(written.join("").replace("ready", "")) as LoadResult;
  if (result.errors > 0) throw new Error(`${contestant.name}: ${result.errors} of ${result.requests} failed: ${result.firstError}`);
  return {
    perSecond: result.requests / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    cpuMsEach: ((after.cpu - before.cpu) * 1000) / result.requests,
    ...(before.trips === undefined || after.trips === undefined ? {} : { roundTripsEach: (after.trips - before.trips) / result.requests }),
  };
}
