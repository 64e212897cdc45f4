import { join } from "node:path";
import { cacheDirectory } from "../peers.ts";
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

const goLibrary = (library: string): Command => ({ program: join(cacheDirectory, "acme/bin/acme"), parameters: [library] });

/** Every client, or those of the given names. */
export function clientsOf(only: readonly string[]): Client[] {
  const all = [
    certbot("certbot", join(cacheDirectory, "acme/certbot/bin/certbot"), { current: true }),
    certbot("certbot (Debian)", "/usr/bin/certbot", { current: false }),
    legoDebian,
    dehydrated,
    uacme,
    lacme,
    acmeTiny,
    modMd,
    caddy("Caddy (Debian)", "/usr/bin/caddy"),
    caddy("Caddy", join(cacheDirectory, "acme/bin/caddy")),
    libraryClient("lego", goLibrary("lego")),
    libraryClient("x/crypto/acme", goLibrary("x/crypto/acme")),
    libraryClient("acmez", goLibrary("acmez")),
    libraryClient("cert-manager", goLibrary("cert-manager")),
    libraryClient("acme-client", {
      program: process.execPath,
      parameters: [join(import.meta.dirname, "acme-client.mjs"), join(cacheDirectory, "acme/npm/package.json")],
      environment: ({ stage }) => ({ NODE_EXTRA_CA_CERTS: stage.server.transportRoots }),
    }),
  ];
  return only.length === 0 ? all : all.filter(({ name }) => only.includes(name));
}
