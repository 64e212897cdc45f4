import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import { startDaemon, until } from "./daemon.ts";

/** The zone in which every name leads to the loopback. */
export const zone = "acme.test";

/** Authoritative and recursive DNS of the stage. */
export type Dns = AsyncDisposable & {
  /** A program: `HOOK add NAME VALUE` puts a TXT record there, `HOOK remove NAME VALUE` takes it away; `HOOK address NAME ADDRESS`. */
  readonly hook: string;
};

/**
 * Knot serves the signed zone on 127.0.0.1:5300, and a validating Unbound answers on 127.0.0.1:53 without keeping anything: a TXT record counts
 * at once. Every name without records of its own has the address 127.0.0.1.
 */
export async function startDns(directory: string): Promise<Dns> {
  await mkdir(join(directory, "knot"), { recursive: true });
  await mkdir(join(directory, "unbound"), { recursive: true });
  const knotFile = join(directory, "knot.conf");
  await writeFile(join(directory, "knot", `${zone}.zone`), zoneFile);
  await writeFile(knotFile, knotConfiguration(join(directory, "knot")));
  await using started = new AsyncDisposableStack();
  started.use(startDaemon("knotd", ["-c", knotFile]));
  const keys = await until(
    "knot signs its zone",
    async () => await outputOf("kdig", ["@127.0.0.1", "-p", "5300", zone, "DNSKEY", "+short"]),
  );
  const anchorFile = join(directory, "unbound", "anchor");
  // The key with flags 257 is the one the zone's DNSKEY set is signed with (RFC 4034 §2.1.1).
  await writeFile(anchorFile, `${zone}. IN DNSKEY ${keys.split("\n").find((key) => key.startsWith("257 "))}\n`);
  const unboundFile = join(directory, "unbound.conf");
  await writeFile(unboundFile, unboundConfiguration(join(directory, "unbound"), anchorFile));
  started.use(startDaemon("unbound", ["-d", "-c", unboundFile]));
  await until("unbound answers, validated", async () => {
    const answer = await outputOf("kdig", ["@127.0.0.1", `any.${zone}`, "A", "+dnssec"]);
    return /;; Flags:[^;]* ad/.test(answer) && answer.includes("127.0.0.1") ? answer : "";
  });
  const hook = join(directory, "dns-hook");
  await writeFile(hook, hookScript, { mode: 0o755 });
  const daemons = started.move();
  return { hook, [Symbol.asyncDispose]: () => daemons.disposeAsync() };
}

const zoneFile = `$ORIGIN ${zone}.
$TTL 0
@ SOA ns.${zone}. hostmaster.${zone}. 1 3600 600 86400 0
@ NS ns
ns A 127.0.0.1
@ A 127.0.0.1
* A 127.0.0.1
`;

// Updates come from the stage alone: nobody else is in its network.
const knotConfiguration = (directory: string): string => `server:
  listen: 127.0.0.1@5300
  rundir: ${directory}
database:
  storage: ${directory}
log:
  - target: stderr
    any: warning
acl:
  - id: stage
    address: 127.0.0.1
    action: update
policy:
  - id: signed
    algorithm: ecdsap256sha256
    dnskey-ttl: 0
    zone-max-ttl: 1
    propagation-delay: 0
template:
  - id: default
    storage: ${directory}
zone:
  - domain: ${zone}
    file: ${zone}.zone
    zonefile-load: difference-no-serial
    zonefile-sync: -1
    journal-content: all
    dnssec-signing: on
    dnssec-policy: signed
    acl: stage
`;

const unboundConfiguration = (directory: string, anchorFile: string): string => `server:
  interface: 127.0.0.1
  directory: "${directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  verbosity: 0
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "${anchorFile}"
  local-zone: "test." nodefault
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  aggressive-nsec: no
  qname-minimisation: no
stub-zone:
  name: "${zone}."
  stub-addr: 127.0.0.1@5300
remote-control:
  control-enable: no
`;

const hookScript = `#!/bin/sh
set -eu
case "$1" in
  add) change="add $2. 0 TXT \\"$3\\"" ;;
  remove) change="del $2. TXT \\"$3\\"" ;;
  address) change="add $2. 0 A $3" ;;
  *) echo "usage: dns-hook add|remove|address NAME VALUE" >&2; exit 2 ;;
esac
knsupdate <<END
server 127.0.0.1 5300
zone ${zone}.
$change
send
END
`;
