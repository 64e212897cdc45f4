import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import { cacheDirectory, installed, version } from "../peers.ts";
import { checkout } from "../service.ts";
import { cachedClients } from "./ability.ts";
import { buildInstantAcme } from "./cached.ts";
import { clients, isHere } from "./clients.ts";

const certbotPackage = "certbot==5.8.0";
const acmeClientPackage = "acme-client@5.4.0";
const place = join(cacheDirectory, "acme");

/** How a program is asked for its version. */
const versionCommands: Readonly<Record<string, readonly [string, ...string[]]>> = {
  certbot: [join(place, "certbot/bin/certbot"), "--version"],
  "certbot (Debian)": ["/usr/bin/certbot", "--version"],
  "lego (Debian)": ["dpkg-query", "-W", "lego"],
  dehydrated: ["dpkg-query", "-W", "dehydrated"],
  uacme: ["dpkg-query", "-W", "uacme"],
  lacme: ["dpkg-query", "-W", "lacme"],
  "acme-tiny": ["dpkg-query", "-W", "acme-tiny"],
  mod_md: ["dpkg-query", "-W", "apache2-bin"],
  "Caddy (Debian)": ["dpkg-query", "-W", "caddy"],
};

const goModules = "conformance/go/acme/go.mod";

/** The file of the checkout that names the version of each library, and the text before it. */
const pinnedIn: Readonly<Record<string, readonly [file: string, before: string]>> = {
  lego: [goModules, "github.com/go-acme/lego/v5 v"],
  "x/crypto/acme": [goModules, "golang.org/x/crypto v"],
  acmez: [goModules, "github.com/mholt/acmez/v3 v"],
  "cert-manager": [goModules, "github.com/cert-manager/cert-manager v"],
  // Built by Go's install, it does not know its version.
  Caddy: ["conformance/acme/cached.ts", "cmd/caddy@v"],
  "instant-acme": ["conformance/rust/Cargo.toml", 'instant-acme = { version = "='],
  acme4j: ["conformance/java/acme/pom.xml", "<artifactId>acme4j-client</artifactId>\n      <version>"],
};

/**
 * Puts the clients that pip, npm and Go bring into the cache; `tell` hears of each that is not on this machine.
 * @returns the versions of those that are.
 */
export async function installClients(tell: (line: string) => void): Promise<Record<string, string>> {
  await mkdir(place, { recursive: true });
  await installed("certbot", join(place, "certbot/bin/certbot"), installCertbot, tell);
  await installed("acme-client", join(place, "npm/node_modules/acme-client/package.json"), installAcmeClient, tell);
  // Go's own cache makes this a matter of a second when nothing has changed.
  await buildGoLibraries().catch((error: unknown) => tell(`the ACME libraries in Go cannot be built: ${String(error)}`));
  if (existsSync(join(place, "rust"))) {
    await buildInstantAcme().catch((error: unknown) => tell(`instant-acme stays as it was built before: ${String(error)}`));
  }
  const cached: readonly string[] = cachedClients;
  for (const { name } of clients.filter((client) => !isHere(client))) {
    tell(`${name} is not on this machine${cached.includes(name) ? ": node conformance/acme/build-cached.ts builds it" : ""}`);
  }
  const versions = clients.filter(isHere).map(async ({ name }) => [name, (await versionOf(name)) ?? "unknown"] as const);
  return Object.fromEntries(await Promise.all(versions));
}

async function installCertbot(): Promise<void> {
  const directory = join(place, "certbot");
  await outputOf("python3", ["-m", "venv", directory], { limitSeconds: 120 });
  const quietly = ["--quiet", "--disable-pip-version-check"];
  await outputOf(join(directory, "bin/pip"), ["install", ...quietly, certbotPackage], { limitSeconds: 600 });
}

async function installAcmeClient(): Promise<void> {
  const quietly = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
  await outputOf("npm", ["install", ...quietly, "--prefix", join(place, "npm"), acmeClientPackage], { limitSeconds: 300 });
}

async function buildGoLibraries(): Promise<void> {
  const environment = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false" };
  const directory = join(checkout, "conformance/go/acme");
  await outputOf("go", ["build", "-o", join(place, "bin/acme"), "."], { directory, environment, limitSeconds: 600 });
}

async function versionOf(client: string): Promise<string | undefined> {
  const [file, before] = pinnedIn[client] ?? [];
  if (file !== undefined && before !== undefined) {
    const text = await readFile(join(checkout, file), "utf8");
    return /^[\d.]+/.exec(text.split(before)[1] ?? "")?.[0];
  }
  if (client === "acme-client") return acmeClientPackage.split("@")[1];
  const [program, ...parameters] = versionCommands[client] ?? [];
  const told = program === undefined ? undefined : await version(program, parameters);
  return /\d+(?:\.\d+)+[^\s,]*/.exec(told ?? "")?.[0];
}
