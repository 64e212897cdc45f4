import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { createToken, type ListedToken, listTokens, revokeToken } from "../client/token.ts";
import { createFile } from "../durable-file.ts";
import { Fault } from "../fault.ts";
import { addCommand, addGroup } from "./command.ts";
import { parseTime } from "./duration.ts";
import { readDatabaseConfig } from "./read-config.ts";
import { openService } from "./service.ts";
import { print, type Report, type Shell } from "./shell.ts";
import { members, table } from "./table.ts";

type CreateOptions = {
  readonly role: string;
  readonly namespace: string;
  readonly expires: string;
  readonly out?: string;
  readonly json?: boolean;
};

/** Adds `token create`, `token list`, `token revoke` and `token recover`. */
export function addTokenCommands(program: Command, shell: Shell): void {
  const token = addGroup(program, {
    usage: "token",
    description: "bearer tokens: create, list, revoke, recover",
    examples: ["npx chancery token create --role viewer --namespace / --expires 90d", "npx chancery token list"],
  });
  addCreate(token, shell);
  addList(token, shell);
  addRevoke(token, shell);
  addRecover(token, shell);
}

function addCreate(token: Command, shell: Shell): void {
  addCommand(token, {
    usage: "create",
    summary: "create a token",
    description: "Create a bearer token. Its text is shown this once and kept nowhere: only its hash is.",
    examples: [
      "npx chancery token create --role requester --namespace /shop --expires 90d --out shop.token",
      "npx chancery token create --role viewer --namespace / --expires 2027-01-31T12:00:00Z",
    ],
  })
    .addOption(
      new Option("--role <role>", "what it may: see, request, or all").choices(["viewer", "requester", "admin"]).makeOptionMandatory(),
    )
    .requiredOption("--namespace <path>", "where it may: this namespace and all below it, as /shop")
    .requiredOption("--expires <time>", "until when: a duration (90d, 24h) or a time (2027-01-31T12:00:00Z)", (text: string) =>
      parseTime(text, shell.now()),
    )
    .option("--out <file>", "write the token to this new file, mode 0600, instead of printing it")
    .action(async (options: CreateOptions) => print(shell, await create(shell, options), options.json));
}

async function create(shell: Shell, { role, namespace, expires, out }: CreateOptions): Promise<Report> {
  const file = out === undefined ? undefined : resolve(shell.cwd, out);
  // Seen before it is asked for: a token that cannot be written would be lost.
  if (file !== undefined && existsSync(file))
    throw new Fault("refusedToStart", `${file} is there already and is not overwritten: use another --out`);
  await using service = openService(shell);
  const { token, ...created } = await createToken(service, { role, namespace, expiresAt: expires });
  if (file === undefined) return { document: { ...created, token }, text: token };

  const remedy = `the new token ${created.id} is lost: revoke it and create another with another --out`;
  await createFile(file, { content: `${token}\n`, mode: 0o600 }, remedy);
  return { document: { ...created, file }, text: `wrote ${file} (token, mode 0600)\n${tokenMembers(created)}` };
}

function addList(token: Command, shell: Shell): void {
  addCommand(token, {
    usage: "list",
    summary: "list the tokens",
    description: "List the tokens of your namespace, newest first, without their text.",
    examples: ["npx chancery token list", "npx chancery token list --json"],
  }).action(async ({ json }: { json?: boolean }) => {
    await using service = openService(shell);
    const tokens = await listTokens(service);
    const text = table(
      ["ID", "ROLE", "NAMESPACE", "EXPIRES", "REVOKED"],
      tokens.map(({ id, role, namespace, expiresAt, revokedAt }) => [id, role, namespace, expiresAt, revokedAt ?? "-"]),
    );
    print(shell, { document: { tokens }, text }, json);
  });
}

function addRevoke(token: Command, shell: Shell): void {
  addCommand(token, {
    usage: "revoke <id>",
    summary: "revoke a token",
    description: "Revoke a token: from the next request on it is refused.",
    examples: ["npx chancery token revoke 01964d5e-7c3a-7b1e-9f20-5a6b7c8d9e0f"],
  }).action(async (id: string, { json }: { json?: boolean }) => {
    await using service = openService(shell);
    await revokeToken(service, id);
    print(shell, { document: { id, revoked: true }, text: `revoked ${id}` }, json);
  });
}

function addRecover(token: Command, shell: Shell): void {
  addCommand(token, {
    usage: "recover",
    summary: "write a new admin token, on the service's machine",
    description:
      "Write a new admin token of / for a year into admin.token of the data directory, when the one there is lost or ends soon. Needs the database alone: no token is asked for and no HSM token opened, and the service may run or not. The token that stood there stays valid until it is revoked or ends.",
    examples: ["npx chancery token recover", "npx chancery token recover --config /etc/chancery.yaml"],
  })
    .option("--config <file>", "YAML file with the service's options; the environment wins over it")
    .action(async ({ config, json }: { config?: string; json?: boolean }) => print(shell, await recover(shell, config), json));
}

async function recover(shell: Shell, configFile: string | undefined): Promise<Report> {
  const config = await readDatabaseConfig(shell, configFile);
  const { recoverAdminToken } = await import("../admin-token.ts");
  const { file, created, replaced } = await recoverAdminToken(config);
  const { id, role, namespace, createdBy } = created;
  const expiresAt = seconds(created.expiresAt);
  const lines = [
    `wrote ${file} (mode 0600): token ${id}, role ${role}, namespace ${namespace}, valid until ${expiresAt}`,
    `the audit log names ${createdBy} as its maker`,
    ...(replaced ? [`the one it replaces is valid until ${seconds(replaced.expiresAt)}: npx chancery token revoke ${replaced.id}`] : []),
  ];
  const document = { id, role, namespace, createdAt: seconds(created.createdAt), expiresAt, createdBy, file };
  return {
    document: { ...document, ...(replaced && { replaced: { id: replaced.id, expiresAt: seconds(replaced.expiresAt) } }) },
    text: lines.map((line) => `${line}\n`).join(""),
  };
}

/** RFC 3339 in UTC, as the service writes its times. */
function seconds(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, "Z");
}

function tokenMembers({ id, role, namespace, expiresAt }: ListedToken): string {
  return members({ id, role, namespace, expiresAt });
}
