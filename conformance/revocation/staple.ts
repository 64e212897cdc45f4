import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execute, outputOf, several } from "../execute.ts";
import { freePort } from "../service.ts";
import { listening } from "../web-server.ts";
import { crlsInPem, type Answer, type Question, type Tool } from "./tool.ts";

/** How often curl connects until nginx has asked the responder: it does so when the first client wants a staple, and that client goes without. */
const attempts = 40;

/**
 * nginx, with its files below `directory`, which serves every certificate under its name and staples what it gets from the responder by GET; curl insists on a good staple, or is given
 * the CRLs. What nginx refused to staple, and why, stands in its log.
 */
export function nginxAndCurl(directory: string): Tool {
  return {
    name: "nginx+curl",
    async answers(questions) {
      await using server = await startNginx(await mkdtemp(join(directory, "nginx-")), questions);
      return await several(questions, 2, (question) => ask(server, question));
    },
  };
}

type Server = AsyncDisposable & {
  readonly port: number;
  readonly log: () => Promise<string>;
  readonly certificateOf: (question: Question) => string;
};

async function ask(server: Server, question: Question): Promise<Answer> {
  if (question.method !== "OCSP GET") return curlVerdict(await curl(server, question, ["--crlfile", await crlsInPem(question)]), "");
  for (let attempt = 0; attempt < attempts; attempt++) {
    const status = await curl(server, question, ["--cert-status"]);
    const log = await server.log();
    const about = log.split("\n").find((line) => line.includes(`certificate: "${server.certificateOf(question)}"`)) ?? "";
    // CURLE_SSL_INVALIDCERTSTATUS: no staple came.
    if (status.code !== 91 || about !== "") return curlVerdict(status, about);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { verdict: "refused", words: `no staple came, and nginx does not say why: ${await server.log()}` };
}

function curlVerdict({ code, words }: { code: number | null; words: string }, log: string): Answer {
  const all = `${words} ${log}`.trim();
  if (code === 0) return { verdict: "good", words: all };
  if (code === 91) return { verdict: log.includes('status "revoked"') ? "revoked" : "undetermined", words: all };
  if (words.includes("certificate has expired")) return { verdict: "expired", words: all };
  if (words.includes("certificate revoked")) return { verdict: "revoked", words: all };
  const without = /unable to get certificate CRL|different CRL scope|CRL has expired/.test(words);
  return { verdict: without ? "undetermined" : "refused", words: all };
}

async function curl({ port }: Server, { specimen }: Question, options: readonly string[]): Promise<{ code: number | null; words: string }> {
  const quietly = ["--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"];
  const { name, root } = specimen;
  const target = ["--resolve", `${name}:${port}:127.0.0.1`, `https://${name}:${port}/`];
  const ended = await execute("curl", [...quietly, "--cacert", root, ...options, ...target]);
  return { code: ended.status, words: ended.stderr.trim() };
}

async function startNginx(directory: string, questions: readonly Question[]): Promise<Server> {
  const port = await freePort();
  const names = new Map(questions.map((question) => [question.specimen.name, question.specimen]));
  for (const [name, { certificate, issuer, root }] of names) {
    await writeFile(join(directory, `${name}.pem`), await outputOf("cat", [certificate, issuer]));
    await writeFile(join(directory, `${name}.trusted`), await outputOf("cat", [issuer, root]));
  }
  const certificateOf = ({ specimen }: Question): string => join(directory, `${specimen.name}.pem`);
  const servers = [...names].map(([name, { key }]) => serverBlock(directory, { name, key, port }));
  await writeFile(join(directory, "nginx.conf"), configuration(directory, servers));
  const log = join(directory, "error.log");
  const child = spawn("nginx", ["-p", directory, "-c", join(directory, "nginx.conf"), "-e", log], { stdio: "ignore" });
  const ended = once(child, "exit");
  await Promise.race([listening(port), ended]);
  if (child.exitCode !== null) throw new Error(`nginx ended: ${await readFile(log, "utf8")}`);
  return {
    port,
    log: () => readFile(log, "utf8"),
    certificateOf,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

function serverBlock(directory: string, { name, key, port }: { name: string; key: string; port: number }): string {
  return `  server {
    listen 127.0.0.1:${port} ssl;
    server_name ${name};
    ssl_certificate ${directory}/${name}.pem;
    ssl_certificate_key ${key};
    ssl_stapling on;
    ssl_stapling_verify on;
    ssl_trusted_certificate ${directory}/${name}.trusted;
    location / { return 200 "served\\n"; }
  }`;
}

function configuration(directory: string, servers: readonly string[]): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `  ${kind}_temp_path ${directory}/${kind};`);
  return `daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log info;
events { }
http {
${temporary.join("\n")}
  access_log off;
  server_names_hash_bucket_size 128;
${servers.join("\n")}
}
`;
}
