import type { Command } from "commander";
import { listProfiles } from "../client/profile.ts";
import { Fault } from "../fault.ts";
import { addCommand, addGroup } from "./command.ts";
import { durationText } from "./duration.ts";
import { openService } from "./service.ts";
import { print, type Shell } from "./shell.ts";
import { members, table } from "./table.ts";

type Document = Readonly<Record<string, unknown>>;

/** Adds `profile list` and `profile show`: what a certificate of a kind may contain. */
export function addProfileCommands(program: Command, shell: Shell): void {
  const profile = addGroup(program, {
    usage: "profile",
    description: "what certificates may contain: list, show",
    examples: ["npx chancery profile list", "npx chancery profile show server"],
  });
  addList(profile, shell);
  addShow(profile, shell);
}

function addList(profile: Command, shell: Shell): void {
  addCommand(profile, {
    usage: "list",
    summary: "list the profiles",
    description: "List the profiles. Those of kind end-entity can be asked for; the others are the service's own.",
    examples: ["npx chancery profile list", "npx chancery profile list --json"],
  }).action(async ({ json }: { json?: boolean }) => {
    await using service = openService(shell);
    const documents = (await listProfiles(service)).map(({ document }) => document);
    const text = table(
      ["NAME", "KIND", "LIFETIME", "KEYS", "EXTENDED KEY USAGE"],
      documents.map((document) => [
        valueText("name", document["name"]),
        valueText("kind", document["kind"]),
        valueText("lifetimeSeconds", memberOf(document, "lifetimeSeconds", "default")),
        valueText("keyAlgorithms", document["keyAlgorithms"]),
        valueText("extendedKeyUsage", document["extendedKeyUsage"]),
      ]),
    );
    print(shell, { document: { profiles: documents }, text }, json);
  });
}

function addShow(profile: Command, shell: Shell): void {
  addCommand(profile, {
    usage: "show <name>",
    summary: "show a profile",
    description: "Show everything a profile allows and sets.",
    examples: ["npx chancery profile show server"],
  }).action(async (name: string, { json }: { json?: boolean }) => {
    await using service = openService(shell);
    const profiles = await listProfiles(service);
    const found = profiles.find((candidate) => candidate.name === name);
    if (!found) throw new Fault("notFound", `there is no profile ${name}: it is one of ${profiles.map((each) => each.name).join(", ")}`);
    print(shell, { document: found.document, text: members({ name, ...Object.fromEntries(flat(found.document)) }) }, json);
  });
}

/** Members of members under dotted names, in the document's order. */
function flat(document: Document, prefix = ""): [string, string][] {
  return Object.entries(document).flatMap(([name, value]): [string, string][] =>
    isDocument(value) ? flat(value, `${prefix}${name}.`) : [[prefix + name, valueText(prefix + name, value)]],
  );
}

function valueText(name: string, value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(String).join(", ");
  if (typeof value === "number" && /Seconds(\.|$)/.test(name)) return durationText(value);
  return value === undefined ? "-" : String(value);
}

function memberOf(document: Document, name: string, inner: string): unknown {
  const value = document[name];
  return isDocument(value) ? value[inner] : undefined;
}

function isDocument(value: unknown): value is Document {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
