import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import { cacheDirectory, installed, version } from "../peers.ts";
import { checkout } from "../service.ts";
import type { ToolName } from "./method.ts";

const pyhankoPackage = "pyhanko-certvalidator[async-http]==0.33.0";
const place = join(cacheDirectory, "revocation");

/** Where the programs and libraries of the tools lie that no package of Debian brings. */
export const libraries = {
  bouncyCastle: join(place, "java"),
  go: join(place, "bin/revocation"),
  webpki: join(place, "rust/debug/revoked"),
  pyhanko: join(place, "pyhanko"),
} as const;

/** Builds what is not in the cache yet; `tell` hears of each tool that is not on this machine. @returns the versions of those that are. */
export async function installTools(tell: (line: string) => void): Promise<Partial<Record<ToolName, string>>> {
  await mkdir(place, { recursive: true });
  // One after the other: together they would only share the processors.
  await installed("pyhanko-certvalidator", join(libraries.pyhanko, "bin/python"), installPyhanko, tell);
  await installed("BouncyCastle", join(libraries.bouncyCastle, "bcpkix-jdk18on.jar"), installBouncyCastle, tell);
  // The caches of Go and Cargo make these a matter of a second when nothing has changed.
  await attempt("golang.org/x/crypto/ocsp", buildGo, tell);
  await attempt("rustls-webpki", buildWebpki, tell);
  const versions = {
    openssl: await version("openssl", ["version"]),
    gnutls: existsSync("/usr/bin/ocsptool") ? await version("ocsptool", ["--version"]) : undefined,
    java: await version("java", ["-version"]),
    bouncycastle: await pinned(libraries.bouncyCastle, "conformance/java/revocation/pom.xml", "<version>", 2),
    go: await pinned(libraries.go, "conformance/go/revocation/go.mod", "golang.org/x/crypto v"),
    nss: existsSync("/usr/bin/vfychain") ? await version("dpkg-query", ["-W", "libnss3-tools"]) : undefined,
    "rustls-webpki": await pinned(libraries.webpki, "conformance/rust/webpki/Cargo.toml", 'version = "=', 1),
    pyhanko: existsSync(libraries.pyhanko) ? pyhankoPackage : undefined,
    "nginx+curl": await version("nginx", ["-v"]),
  } satisfies Record<ToolName, string | undefined>;
  for (const [tool, text] of Object.entries(versions)) if (text === undefined) tell(`${tool} is not on this machine`);
  return Object.fromEntries(Object.entries(versions).filter(([, text]) => text !== undefined));
}

async function attempt(what: string, build: () => Promise<void>, tell: (line: string) => void): Promise<void> {
  await build().catch((error: unknown) => tell(`${what} cannot be built: ${String(error)}`));
}

async function installPyhanko(): Promise<void> {
  await outputOf("python3", ["-m", "venv", libraries.pyhanko], { limitSeconds: 120 });
  const quietly = ["--quiet", "--disable-pip-version-check"];
  await outputOf(join(libraries.pyhanko, "bin/pip"), ["install", ...quietly, pyhankoPackage], { limitSeconds: 600 });
}

async function installBouncyCastle(): Promise<void> {
  const pom = join(checkout, "conformance/java/revocation/pom.xml");
  const copy = ["dependency:copy-dependencies", `-DoutputDirectory=${libraries.bouncyCastle}`, "-Dmdep.stripVersion=true"];
  await outputOf("mvn", ["--quiet", "--batch-mode", "--file", pom, ...copy], { limitSeconds: 600 });
}

async function buildGo(): Promise<void> {
  const environment = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false" };
  const directory = join(checkout, "conformance/go/revocation");
  await outputOf("go", ["build", "-o", libraries.go, "."], { directory, environment, limitSeconds: 600 });
}

async function buildWebpki(): Promise<void> {
  const environment = { ...process.env, CARGO_TARGET_DIR: join(place, "rust") };
  await outputOf("cargo", ["build", "--locked", "--quiet"], {
    directory: join(checkout, "conformance/rust/webpki"),
    environment,
    limitSeconds: 600,
  });
}

/** The version that `file` of the checkout pins behind the `nth` occurrence of `before`; undefined where the tool is not built. */
async function pinned(program: string, file: string, before: string, nth = 1): Promise<string | undefined> {
  if (!existsSync(program)) return undefined;
  const text = await readFile(join(checkout, file), "utf8");
  return /^[\w.-]+/.exec(text.split(before)[nth] ?? "")?.[0];
}
