import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { execute, outputOf } from "./execute.ts";

/** Where the programs of the peers lie, and what they say of themselves. A peer that cannot be had is absent from both. */
export type Peers = {
  readonly versions: Readonly<Record<string, string>>;
  readonly zlint?: string;
  readonly pkilint?: string;
};

/** Built once, outside the checkout, and used by every later run. */
export const cacheDirectory = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "chancery-conformance");

const zlintModule = "github.com/zmap/zlint/v3/cmd/zlint@v3.7.3";
const pkilintPackage = "pkilint==0.13.3";

/** Finds the peers, and installs the two linters into the cache where they are not there yet. `tell` hears why one is missing. */
export async function findPeers(tell: (line: string) => void): Promise<Peers> {
  await mkdir(cacheDirectory, { recursive: true });
  const zlint = await installed("zlint", join(cacheDirectory, "bin", "zlint"), installZlint, tell);
  const pkilint = await installed("pkilint", join(cacheDirectory, "pkilint", "bin", "lint_pkix_cert"), installPkilint, tell);
  const versions = [
    ["openssl", await version("openssl", ["version"])],
    ["gnutls", await version("certtool", ["--version"])],
    ["java", await version("java", ["-version"])],
    ["go", await version("go", ["version"])],
    ["nginx", await version("nginx", ["-v"])],
    ["curl", await version("curl", ["--version"])],
    ["zlint", zlint && zlintModule],
    ["pkilint", pkilint && pkilintPackage],
  ] as const;
  for (const [peer, text] of versions) if (text === undefined) tell(`${peer} is not on this machine`);
  return {
    versions: Object.fromEntries(versions.flatMap(([peer, text]) => (text === undefined ? [] : [[peer, text]]))),
    ...(zlint === undefined ? {} : { zlint }),
    ...(pkilint === undefined ? {} : { pkilint }),
  };
}

/** `file`, after `install` has made it where it was missing; `tell` hears of both, and undefined is the answer where that fails. */
export async function installed(
  peer: string,
  file: string,
  install: () => Promise<void>,
  tell: (line: string) => void,
): Promise<string | undefined> {
  if (existsSync(file)) return file;
  tell(`installing ${peer} into ${cacheDirectory}`);
  try {
    await install();
    return file;
  } catch (error) {
    tell(`${peer} cannot be installed: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

async function installZlint(): Promise<void> {
  const environment = { ...process.env, CGO_ENABLED: "0", GOBIN: join(cacheDirectory, "bin") };
  await outputOf("go", ["install", zlintModule], { environment, limitSeconds: 600 });
}

async function installPkilint(): Promise<void> {
  const directory = join(cacheDirectory, "pkilint");
  await outputOf("python3", ["-m", "venv", directory], { limitSeconds: 120 });
  await outputOf(join(directory, "bin", "pip"), ["install", "--quiet", "--disable-pip-version-check", pkilintPackage], {
    limitSeconds: 600,
  });
}

/** The first line in which a program tells its version, or undefined when there is no such program. */
export async function version(program: string, parameters: readonly string[]): Promise<string | undefined> {
  const ended = await execute(program, parameters).catch(() => undefined);
  return ended === undefined ? undefined : `${ended.stdout}${ended.stderr}`.trim().split("\n")[0];
}
