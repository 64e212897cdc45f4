import { join } from "node:path";
import { outputOf } from "../execute.ts";
import { cacheDirectory } from "../peers.ts";
import { checkout } from "../service.ts";

const caddyModule = "github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9";
const place = join(cacheDirectory, "acme");
const limitSeconds = 1200;

/** Caddy as its authors have it, by Go. */
export async function buildCaddy(): Promise<void> {
  const environment = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOBIN: join(place, "bin") };
  await outputOf("go", ["install", caddyModule], { environment, limitSeconds });
}

/** The program around instant-acme, by Cargo; a matter of a second when nothing has changed. */
export async function buildInstantAcme(): Promise<void> {
  const environment = { ...process.env, CARGO_TARGET_DIR: join(place, "rust") };
  await outputOf("cargo", ["build", "--locked", "--quiet"], { directory: join(checkout, "conformance/rust"), environment, limitSeconds });
}

/** What acme4j consists of, by Maven; Java compiles the program around it as it starts. */
export async function buildAcme4j(): Promise<void> {
  const libraries = join(place, "java");
  const pom = join(checkout, "conformance/java/acme/pom.xml");
  const copy = ["dependency:copy-dependencies", `-DoutputDirectory=${libraries}`, "-Dmdep.stripVersion=true"];
  await outputOf("mvn", ["--quiet", "--batch-mode", "--file", pom, ...copy], { limitSeconds });
}
