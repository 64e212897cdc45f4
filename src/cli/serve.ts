import { join } from "node:path";
import type { Command } from "commander";
import type { Config } from "../config.ts";
import { addCommand } from "./command.ts";
import { commandLine, shellWord } from "./command-line.ts";
import { readConfig } from "./read-config.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { stopRequest } from "./stop-request.ts";
import { members } from "./table.ts";

/** Adds `serve`: runs the service until it is asked to stop. */
export function addServe(program: Command, shell: Shell): void {
  addCommand(program, {
    usage: "serve",
    summary: "run the service",
    description:
      "Run the service until SIGTERM or Ctrl-C, which lets requests finish; a second one ends it at once. Logs go to stderr, one JSON object a line. Options come from the environment and --config.",
    examples: ["npx chancery serve --config /etc/chancery.yaml", "CHANCERY_ENV=evaluation npx chancery serve"],
  })
    .addHelpText("after", productionOptions)
    .option("--config <file>", "YAML file with options in camelCase without prefix (listen: 0.0.0.0:9443); the environment wins over it")
    .action(async ({ config: file, json }: { config?: string; json?: boolean }) => {
      const config = await readConfig(shell, file);
      // Asked to stop while it starts, it stops when it has started: what is half open would leave work to the next start.
      const stopAsked = stopRequest();
      const { build } = await import("../app.ts");
      await using service = await build(config);
      print(shell, started(shell, config, service.listeners.ops.port), json);
      await stopAsked;
    });
}

function started(shell: Shell, config: Config, opsPort: number): Report {
  const { env, baseUrl, statusUrl, opsListen, dataDir } = config;
  const host = opsListen.host.includes(":") ? `[${opsListen.host}]` : opsListen.host;
  const document = {
    env,
    rest: `${baseUrl}/v1`,
    acme: acmeDirectory(config),
    status: statusUrl,
    ops: `http://${host}:${opsPort}`,
    root: join(dataDir, "root.pem"),
    adminToken: join(dataDir, "admin.token"),
    firstCertificate: firstCertificate(shell, config),
  };
  const kind = env === "evaluation" ? "an evaluation: not for production" : env;
  const lines = members({
    REST: document.rest,
    ...(document.acme !== undefined && { ACME: document.acme }),
    Status: document.status,
    Ops: document.ops,
    Root: document.root,
    Token: document.adminToken,
  });
  const text = `Chancery is serving (${kind}).

${lines}
A first certificate, from another terminal in this directory:

  ${document.firstCertificate}

Ctrl-C stops it. npx chancery doctor says what is wrong, npx chancery --help what else there is.
`;
  return { document, text };
}

/** Where an ACME client is pointed at; undefined where there is no directory, or several of the operator's own names. */
function acmeDirectory({ env, acmeDirectories, baseUrl }: Config): string | undefined {
  return env === "evaluation" && acmeDirectories === undefined ? `${baseUrl}/acme/default/directory` : undefined;
}

/** The command to copy; it names what differs from the command line's defaults. */
function firstCertificate(shell: Shell, { baseUrl, dataDir }: Config): string {
  const own = dataDir === join(shell.checkout, "var");
  const variables = {
    CHANCERY_DATA_DIR: own ? undefined : dataDir,
    CHANCERY_BASE_URL: baseUrl === "https://localhost:9443" ? undefined : baseUrl,
  };
  return commandLine(
    variables,
    `npx chancery cert issue --name localhost --out ${own ? "./var/first" : shellWord(join(dataDir, "first"))}`,
  );
}

const productionOptions = `
What production needs from the environment or --config (docs/OPERATIONS.md has every option, with its default):
  CHANCERY_BASE_URL         https URL by which clients reach it
  CHANCERY_STATUS_URL       http URL of the status listener, which stands in every certificate
  DATABASE_URL              postgresql://user:password@host/database?sslmode=verify-full, or for a Unix socket
                            postgresql:///database?host=/run/postgresql&user=user
  CHANCERY_PKCS11_MODULE    path of the PKCS#11 module
  CHANCERY_PKCS11_TOKEN     label of the token with the issuing keys
  CHANCERY_PKCS11_PIN_FILE  file with its user PIN, mode 0400
`;
