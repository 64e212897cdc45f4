import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { impostorRoot } from "./certificates.ts";
import { execute } from "./execute.ts";
import type { Run } from "./matrix.ts";
import { chancery, freePort, type Service } from "./service.ts";

const serverName = "web.example.org";

/** nginx serves what `npx chancery cert issue` made, curl accepts it by our root alone, and mutual TLS admits client certificates and nothing else. */
export async function webServer({ matrix, peers }: Run, service: Service, directory: string): Promise<void> {
  if (!("nginx" in peers.versions) || !("curl" in peers.versions)) return;
  const site = join(directory, "site");
  await mkdir(site, { recursive: true });
  const where = { subject: "nginx", peer: "nginx+curl" } as const;
  const identities = [
    { name: serverName, profile: "server" },
    { name: "caller.example.org", profile: "client" },
    { name: "peer.example.org", profile: "mtls" },
  ];
  for (const { name, profile } of identities) {
    await matrix.check({ ...where, check: `cert issue --profile ${profile}` }, async () => {
      const ended = await chancery(service, ["cert", "issue", "--name", name, "--profile", profile, "--out", site]);
      return ended.status === 0 ? undefined : `exit status ${ended.status}: ${ended.stderr}${ended.stdout}`;
    });
  }
  await using server = await startNginx(service, site);
  const otherRoot = await impostorRoot(service.rootFile, join(site, "impostor.pem"));
  const trusting = ["--cacert", service.rootFile];
  const identity = (name: string): string[] => ["--cert", join(site, `${name}.pem`), "--key", join(site, `${name}.key`)];
  const expectations = [
    { check: "curl accepts by root.pem", port: server.port, options: trusting, expected: "0 200" },
    { check: "curl refuses by the system's roots", port: server.port, options: [], expected: "60 000" },
    // The signature under the other key does not verify: OpenSSL reports that as a failed handshake, curl as 35.
    { check: "curl refuses by a root of the same name", port: server.port, options: ["--cacert", otherRoot], expected: "35 000" },
    { check: "curl refuses under another name", port: server.port, host: "other.example.net", options: trusting, expected: "60 000" },
    {
      check: "mutual TLS admits profile client",
      port: server.mutualPort,
      options: [...trusting, ...identity("caller.example.org")],
      expected: "0 200",
    },
    {
      check: "mutual TLS admits profile mtls",
      port: server.mutualPort,
      options: [...trusting, ...identity("peer.example.org")],
      expected: "0 200",
    },
    {
      check: "mutual TLS refuses profile server",
      port: server.mutualPort,
      options: [...trusting, ...identity(serverName)],
      expected: "0 400",
    },
    { check: "mutual TLS refuses a caller without certificate", port: server.mutualPort, options: trusting, expected: "0 400" },
  ];
  for (const { check, port, options, host = serverName, expected } of expectations) {
    await matrix.check({ ...where, check }, async () => {
      const answer = await curl(host, port, options);
      return answer === expected ? undefined : `exit status and HTTP status ${answer}, expected ${expected}`;
    });
  }
}

/** Exit status of curl and HTTP status: `0 200`, or `60 000` when the server's certificate is refused. */
async function curl(host: string, port: number, options: readonly string[]): Promise<string> {
  const quietly = ["--silent", "--show-error", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"];
  const target = ["--resolve", `${host}:${port}:127.0.0.1`, `https://${host}:${port}/`];
  const ended = await execute("curl", [...quietly, ...options, ...target]);
  return `${ended.status} ${ended.stdout}`;
}

/** nginx on two loopback ports, one of which asks for a client certificate; everything it writes lies in `site`. */
async function startNginx(service: Service, site: string): Promise<AsyncDisposable & { port: number; mutualPort: number }> {
  const [port, mutualPort] = await Promise.all([freePort(), freePort()]);
  await writeFile(join(site, "nginx.conf"), configuration(service, site, port, mutualPort));
  const child = spawn("nginx", ["-p", site, "-c", join(site, "nginx.conf"), "-e", "stderr"], { stdio: ["ignore", "ignore", "pipe"] });
  const words: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => words.push(chunk.toString()));
  const ended = once(child, "exit");
  await Promise.race([Promise.all([listening(port), listening(mutualPort)]), ended]);
  if (child.exitCode !== null) throw new Error(`nginx ended: ${words.join("")}`);
  return {
    port,
    mutualPort,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

function configuration(service: Service, site: string, port: number, mutualPort: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `  ${kind}_temp_path ${site}/${kind};`);
  const identity = `    ssl_certificate ${site}/${serverName}.pem;\n    ssl_certificate_key ${site}/${serverName}.key;`;
  return `daemon off;
master_process off;
pid ${site}/nginx.pid;
events { }
http {
${temporary.join("\n")}
  access_log off;
  server {
    listen 127.0.0.1:${port} ssl;
${identity}
    location / { return 200 "served\\n"; }
  }
  server {
    listen 127.0.0.1:${mutualPort} ssl;
${identity}
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_client_certificate ${service.rootFile};
    location / { return 200 "admitted\\n"; }
  }
}
`;
}

/** Resolves when somebody listens on a TCP port of the loopback. @throws Error after five seconds. */
export async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const connected = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
      socket.on("connect", () => socket.destroy());
    });
    if (connected) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`nothing listens on port ${port}`);
}
