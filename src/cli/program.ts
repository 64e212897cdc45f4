import { Command } from "commander";
import { addAcmeCommands } from "./acme.ts";
import { addCaCommands } from "./ca.ts";
import { addCertIssue } from "./cert-issue.ts";
import { addCertList } from "./cert-list.ts";
import { addCertRevoke } from "./cert-revoke.ts";
import { addCertShow } from "./cert-show.ts";
import { addGroup, exampleText } from "./command.ts";
import { addDoctor } from "./doctor.ts";
import { type ExitCode, failureOf, failureText } from "./failure.ts";
import { addHaltCommands } from "./halt.ts";
import { addInit } from "./init.ts";
import { addMigrate } from "./migrate.ts";
import { addProfileCommands } from "./profile.ts";
import { addRevocationCommands } from "./revocation.ts";
import { addServe } from "./serve.ts";
import type { Shell } from "./shell.ts";
import { addTokenCommands } from "./token.ts";

/** Runs the command that `args` name and gives the exit code. Whatever went wrong has been told on stderr. */
export async function run(args: readonly string[], shell: Shell): Promise<ExitCode> {
  try {
    await program(shell).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    const failure = failureOf(error);
    if (!failure) return 0;
    shell.error(failureText(failure, args.includes("--json")));
    return failure.exitCode;
  }
}

/** The whole command line: every command, with its options, help and action. */
export function program(shell: Shell): Command {
  const chancery = new Command("chancery")
    .usage("<command> [options]")
    .description("Certificate authority and key-management service: runs it (serve), looks after it (init, migrate, doctor), and asks it.")
    .exitOverride()
    .configureOutput({ writeOut: (text) => shell.out(text), writeErr: (text) => shell.error(text), outputError: () => undefined })
    .helpCommand(false)
    .addHelpText("after", `${exampleText(examples)}\n${location}\n${exits}`);
  addServe(chancery, shell);
  addInit(chancery, shell);
  addMigrate(chancery, shell);
  addDoctor(chancery, shell);

  const cert = addGroup(chancery, {
    usage: "cert",
    description: "certificates: issue, show, list, revoke",
    examples: ["npx chancery cert issue --name www.example.org", "npx chancery cert list"],
  });
  addCertIssue(cert, shell);
  addCertShow(cert, shell);
  addCertList(cert, shell);
  addCertRevoke(cert, shell);
  addRevocationCommands(chancery, shell);
  addHaltCommands(chancery, shell);
  addCaCommands(chancery, shell);
  addProfileCommands(chancery, shell);
  addTokenCommands(chancery, shell);
  addAcmeCommands(chancery, shell);
  return chancery;
}

const examples = ["npx chancery doctor", "npx chancery cert issue --name www.example.org", "npx chancery cert issue --help"];

const location = `Where the service is (cert, revocation, halt, resume, ca, profile, token, acme):
  CHANCERY_BASE_URL    https URL of its REST interface (default: https://localhost:9443)
  CHANCERY_TOKEN_FILE  file with a bearer token        (default: admin.token of the data directory)
  CHANCERY_CA_FILE     its root certificate, PEM       (default: root.pem of the data directory)
  CHANCERY_DATA_DIR    data directory                  (default: var of this checkout)
`;

const exits = `Exit codes:
  0 done   1 failed   2 wrong usage   3 refused by the service   4 service unavailable
`;
