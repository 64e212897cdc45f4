import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { program } from "../../src/cli/program.ts";
import { chancery, untried } from "./shell.ts";

const nothing = () => undefined;
const root = program({ env: {}, cwd: "/", checkout: "/", now: () => new Date(0), out: nothing, error: nothing, trials: untried });
const commands = leaves(root, []);

test("the commands are those that others script against", () => {
  expect(commands.map(({ path }) => path.join(" ")).toSorted()).toEqual([
    "acme account list",
    "acme account revoke",
    "acme account show",
    "acme eab create",
    "acme eab list",
    "acme eab revoke",
    "acme order list",
    "acme order show",
    "ca crl",
    "ca list",
    "cert issue",
    "cert list",
    "cert revoke",
    "cert show",
    "doctor",
    "halt",
    "init",
    "migrate",
    "profile list",
    "profile show",
    "resume",
    "revocation create",
    "revocation show",
    "revocation stop",
    "serve",
    "token create",
    "token list",
    "token recover",
    "token revoke",
  ]);
});

describe.each(commands.map(({ path, command }) => ({ name: path.join(" "), path, command })))(
  "chancery $name",
  ({ name, path, command }) => {
    test("has a description, an example to copy, and --json", async () => {
      const { exitCode, stdout, stderr } = await chancery([...path, "--help"], { cwd: "/" });
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(command.description()).not.toBe("");
      expect(stdout).toMatch(new RegExp(`Examples?:\\n  npx chancery ${name}`));
      expect(stdout).toContain("--json");
    });

    test("every option says what it is", () => {
      expect(command.options.filter(({ description }) => description === "").map(({ flags }) => flags)).toEqual([]);
    });

    test("refuses an option it does not have with exit code 2", async () => {
      const { exitCode, stdout, stderr } = await chancery([...path, "--no-such-option"], { cwd: "/" });
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
      expect(stderr).toMatch(/^chancery: .*--help\n$/);
    });
  },
);

test.for(["", ...root.commands.map((command) => command.name())])("chancery %s --help ends with an example to copy", async (name) => {
  const { exitCode, stdout } = await chancery(
    [name, "--help"].filter((word) => word !== ""),
    { cwd: "/" },
  );
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(new RegExp(`\\nExamples?:\\n  npx chancery ${name}`));
});

test.for(["cert", "revocation", "token", "ca", "profile", ""])(
  "chancery %s without a command shows what there is and exits with 2",
  async (group) => {
    const { exitCode, stdout, stderr } = await chancery(group === "" ? [] : [group], { cwd: "/" });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain("Usage: chancery");
  },
);

function leaves(command: Command, path: readonly string[]): { path: readonly string[]; command: Command }[] {
  if (command.commands.length === 0) return [{ path, command }];
  return command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
}
