import { execFileSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { FreshToken } from "./token.ts";

/** The functions of the module in which the shim can fail, and how: see `test/shim/shim.c`. */
export type ShimFault = {
  readonly function:
    "C_Initialize" | "C_GetTokenInfo" | "C_OpenSession" | "C_Login" | "C_FindObjectsInit" | "C_SignInit" | "C_Sign" | "C_GenerateKeyPair";
  /**
   * `latency`, `hang`: milliseconds before the call (a hang of 0 is for ever) · `drawn`: so many milliseconds at most · `return`: this return value instead of the call ·
   * `lost`: this return value after it · `abort`, `crash`: SIGABRT, SIGSEGV · `flip`: a bit of the signature · `zeros`: a signature of
   * zeros · `other`: a C_SignInit with another key of the token · `half`, `die`: SIGKILL after the public half, after the pair · `tries`: wrong PINs until the lock · `limit`: sessions at most
   */
  readonly fault:
    "latency" | "drawn" | "hang" | "return" | "lost" | "abort" | "crash" | "flip" | "zeros" | "other" | "half" | "die" | "tries" | "limit";
  readonly argument?: number;
  /** How often altogether, over all processes; always when absent. */
  readonly times?: number;
};

/** One call that reached the shim. */
export type ShimCall = {
  readonly time: number;
  readonly process: number;
  readonly function: string;
  /** CKA_ID of the key of a C_Sign, as hex. */
  readonly key: string;
  readonly mechanism: number;
  /** Input of a C_Sign as hex: a digest, or a DigestInfo that ends with one. */
  readonly input: string;
  readonly result: number;
};

/** A module that stands in front of the token's own. */
export type Shim = {
  /** Path of the module, to be used instead of the token's. */
  readonly module: string;
  /** From the next call on, exactly these faults happen. None: the module is well. */
  fault(...faults: readonly ShimFault[]): void;
  /** Every call so far. */
  calls(name?: string): ShimCall[];
};

/** Whether this machine can build the shim; where it cannot, one line says so and the tests that need it are skipped. */
export const shimAvailable: boolean = findCompiler() !== undefined || announceMissing();

/** Puts the shim in front of a token's module. Its control file and log lie in the token's directory. */
export function shimmed({ module, directory }: Pick<FreshToken, "module" | "directory">): Shim {
  const path = join(directory, `shim-${randomUUID()}.so`);
  copyFileSync(build(), path);
  writeFileSync(`${path}.real`, module);
  return {
    module: path,
    fault(...faults) {
      const lines = faults.map(
        ({ function: name, fault, argument = 0, times = 0 }) => `${name} ${fault} ${argument} ${times} ${randomUUID()}\n`,
      );
      // Renamed into place: the module never reads half a file.
      writeFileSync(`${path}.control.new`, lines.join(""));
      renameSync(`${path}.control.new`, `${path}.control`);
    },
    calls: (name) =>
      (existsSync(`${path}.log`) ? parseLog(readFileSync(`${path}.log`, "utf8")) : []).filter(
        (call) => name === undefined || call.function === name,
      ),
  };
}

function parseLog(text: string): ShimCall[] {
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const [time = "", process = "", name = "", key = "", mechanism = "", input = "", result = ""] = line.split(" ");
      return {
        time: Number(time),
        process: Number(process),
        function: name,
        key,
        mechanism: Number(mechanism),
        input,
        result: Number(result),
      };
    });
}

/** The built module, from the cache when its source is the same. */
function build(): string {
  const source = fileURLToPath(new URL("../shim/shim.c", import.meta.url));
  const cache = fileURLToPath(new URL("../../var/shim", import.meta.url));
  const target = join(cache, `${createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 16)}.so`);
  if (existsSync(target)) return target;
  const compiler = findCompiler();
  if (compiler === undefined) throw new Error("no C compiler");
  mkdirSync(cache, { recursive: true });
  const made = `${target}.${randomUUID()}`;
  const language = compiler.endsWith("++") ? ["-x", "c++"] : [];
  execFileSync(compiler, [...language, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl", "-lpthread"], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  renameSync(made, target);
  return target;
}

function findCompiler(): string | undefined {
  return ["cc", "gcc", "clang", "c++", "g++"].find((compiler) => {
    try {
      execFileSync(compiler, ["--version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
}

function announceMissing(): false {
  process.stdout.write("no C compiler: tests that need the PKCS#11 fault shim are skipped\n");
  return false;
}
