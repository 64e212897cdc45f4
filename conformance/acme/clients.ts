import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "../peers.ts";
import { checkout } from "../service.ts";
import { acmeTiny } from "./acme-tiny.ts";
import { certbot } from "./certbot.ts";
import { caddy } from "./caddy.ts";
import type { Client } from "./client.ts";
import { dehydrated } from "./dehydrated.ts";
import { lacme } from "./lacme.ts";
import { legoDebian } from "./lego-debian.ts";
import { modMd } from "./mod-md.ts";
import { libraryClient, type Command } from "./program.ts";
import { uacme } from "./uacme.ts";

const javaDirectory = join(cacheDirectory, "acme/java");
const acmeClientPackage = join(cacheDirectory, "acme/npm/package.json");
const goLibrary = (library: string): Command => ({ program: join(cacheDirectory, "acme/bin/acme"), parameters: [library] });

/** Every client of the conformance run; those that take longest begin. */
export const clients: readonly Client[] = [
  dehydrated,
  modMd,
  certbot("certbot", join(cacheDirectory, "acme/certbot/bin/certbot"), { current: true }),
  certbot("certbot (Debian)", "/usr/bin/certbot", { current: false }),
  uacme,
  legoDebian,
  lacme,
  acmeTiny,
  caddy("Caddy (Debian)", "/usr/bin/caddy"),
  caddy("Caddy", join(cacheDirectory, "acme/bin/caddy")),
  libraryClient("lego", goLibrary("lego")),
  libraryClient("x/crypto/acme", goLibrary("x/crypto/acme")),
  libraryClient("acmez", goLibrary("acmez")),
  libraryClient("cert-manager", goLibrary("cert-manager")),
  libraryClient("instant-acme", { program: join(cacheDirectory, "acme/rust/debug/instant-acme-walk"), parameters: [] }),
  libraryClient("acme4j", {
    program: "java",
    needs: join(javaDirectory, "acme4j-client.jar"),
    parameters: ["-cp", join(javaDirectory, "*"), join(checkout, "conformance/java/acme/Acme4j.java")],
  }),
  libraryClient("acme-client", {
    program: process.execPath,
    needs: acmeClientPackage,
    parameters: [join(import.meta.dirname, "acme-client.mjs"), acmeClientPackage],
    environment: ({ stage }) => ({ NODE_EXTRA_CA_CERTS: stage.server.transportRoots }),
  }),
];

/** The clients of this machine, all or those of the given names. */
export function clientsHere(only: readonly string[]): Client[] {
  return clients.filter((client) => isHere(client) && (only.length === 0 || only.includes(client.name)));
}

/** Whether the machine has what `client` needs. */
export function isHere({ needs }: Client): boolean {
  const places = needs.includes("/") ? [needs] : (process.env["PATH"] ?? "").split(":").map((place) => join(place, needs));
  return places.some((place) => existsSync(place));
}
