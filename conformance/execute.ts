import { spawn } from "node:child_process";

/** How a program ended and what it wrote. `status` is null when a signal or the time limit ended it. */
export type Ended = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

/** Where and for how long a program runs. */
export type ExecuteOptions = {
  readonly input?: string;
  readonly directory?: string;
  readonly environment?: NodeJS.ProcessEnv;
  /** After this many seconds the program is killed; 60 where absent. */
  readonly limitSeconds?: number;
};

/**
 * Runs `program` to its end, whatever its exit status is.
 * @throws the operating system's error when the program cannot be started.
 */
export function execute(program: string, parameters: readonly string[], options: ExecuteOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, {
      cwd: options.directory,
      env: options.environment ?? process.env,
      stdio: ["pipe", "pipe", "pipe"],
      timeout: (options.limitSeconds ?? 60) * 1000,
      killSignal: "SIGKILL",
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    child.on("error", reject);
    // A program that does not read its input closes the pipe: its exit status tells the rest.
    child.stdin.on("error", () => undefined);
    child.on("close", (status) => resolve({ status, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }));
    child.stdin.end(options.input ?? "");
  });
}

/**
 * What `program` writes to its standard output.
 * @throws Error with the program's own words when its exit status is not 0.
 */
export async function outputOf(program: string, parameters: readonly string[], options: ExecuteOptions = {}): Promise<string> {
  const ended = await execute(program, parameters, options);
  if (ended.status === 0) return ended.stdout;
  const words = `${ended.stderr}\n${ended.stdout}`.trim().slice(-2000);
  throw new Error(`${program} ${parameters.slice(0, 3).join(" ")} … ended with ${ended.status ?? "a signal"}: ${words}`);
}

/** `items` through `act`, `limit` at a time, results in the order of the items. */
export async function several<Item, Result>(
  items: readonly Item[],
  limit: number,
  act: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Map<number, Result>();
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results.set(index, await act(item));
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return [...results].toSorted(([a], [b]) => a - b).map(([, result]) => result);
}
