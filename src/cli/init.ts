import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Config } from "../config.ts";
import type { KeyAlgorithm } from "../pki/algorithm.ts";
import { addCommand } from "./command.ts";
import { commandLine, shellWord } from "./command-line.ts";
import { requestKeyAlgorithms } from "./key-algorithm.ts";
import { readConfig } from "./read-config.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { members } from "./table.ts";

type Options = {
  readonly organization?: string;
  readonly country?: string;
  readonly rootKeyAlgorithm: KeyAlgorithm;
  readonly issuingKeyAlgorithm: KeyAlgorithm;
  readonly config?: string;
  readonly json?: boolean;
};

/** Adds `init`: the ceremony that makes the first hierarchy. */
export function addInit(program: Command, shell: Shell): void {
  addCommand(program, {
    usage: "init",
    summary: "make the root and its issuing authority, once",
    description:
      "Make the root and its issuing authority, once, in their tokens, and the first admin token. It is the only command that opens the root's token. One that was interrupted goes on where it stood; one that is complete changes nothing. An evaluation needs none: its first start does the same.",
    examples: [
      'npx chancery init --organization "Example Ltd" --country GB',
      "npx chancery init --organization Example --config /etc/chancery.yaml",
    ],
  })
    .addOption(
      new Option("--organization <name>", "O of both names, 1 to 50 characters; required in production").argParser(parseOrganization),
    )
    .addOption(new Option("--country <code>", "C of both names, ISO 3166-1 alpha-2 (default: XX, none)").argParser(parseCountry))
    .addOption(new Option("--root-key-algorithm <algorithm>", "key of the root").choices(requestKeyAlgorithms).default("P-384"))
    .addOption(
      new Option("--issuing-key-algorithm <algorithm>", "key of the issuing authority").choices(requestKeyAlgorithms).default("P-256"),
    )
    .option("--config <file>", "YAML file with options; the environment wins over it")
    .action(async (options: Options) => print(shell, await init(shell, options), options.json));
}

async function init(
  shell: Shell,
  { organization, country, rootKeyAlgorithm, issuingKeyAlgorithm, config: file }: Options,
): Promise<Report> {
  const config = await readConfig(shell, file);
  if (organization === undefined && config.env === "production") {
    throw new InvalidArgumentError("--organization is needed: it stands in every certificate's chain for ever");
  }
  const { evaluationPlan, initialise } = await import("../initialise.ts");
  const given = { organization: organization ?? evaluationPlan.organization, country: country ?? evaluationPlan.country };
  const { root, adminToken } = await initialise(config, { ...given, rootKeyAlgorithm, issuingKeyAlgorithm });
  const rootFile = join(config.dataDir, "root.pem");
  const { fingerprint256 } = new X509Certificate(root);
  const { parseCertificate } = await import("../pki/certificate.ts");
  const { subjectText: subject } = parseCertificate(root);
  return {
    document: { subject, sha256: fingerprint256.replaceAll(":", "").toLowerCase(), rootFile, adminTokenFile: adminToken },
    text: `${members({ root: subject, sha256: fingerprint256, rootFile, adminToken })}next: ${serveCommand(shell, config, file)}\n`,
  };
}

/** The command to copy; it names what this one was told of environment and data directory. */
function serveCommand(shell: Shell, { env, dataDir }: Config, configFile: string | undefined): string {
  const variables = {
    CHANCERY_ENV: shell.env["CHANCERY_ENV"] ? env : undefined,
    CHANCERY_DATA_DIR: shell.env["CHANCERY_DATA_DIR"] ? dataDir : undefined,
  };
  return commandLine(variables, `npx chancery serve${configFile === undefined ? "" : ` --config ${shellWord(configFile)}`}`);
}

function parseOrganization(text: string): string {
  // Each common name is the organization and up to 13 characters more; ub-common-name is 64 (RFC 5280 Appendix A.1).
  if (!/^\P{Cc}{1,50}$/u.test(text) || text.trim() !== text)
    throw new InvalidArgumentError("It is 1 to 50 characters without blanks at the ends.");
  return text;
}

function parseCountry(text: string): string {
  if (!/^[A-Z]{2}$/.test(text)) throw new InvalidArgumentError("It is two capital letters, such as GB.");
  return text;
}
