import type { Command } from "commander";
import type { Config } from "../config.ts";
import { Fault } from "../fault.ts";
import { addCommand } from "./command.ts";
import { type Finding, findingsText } from "./finding.ts";
import { readConfig } from "./read-config.ts";
import { print, type Shell } from "./shell.ts";

/** Adds `doctor`: looks at everything a start needs, one by one, beside a running service or before the first one. */
export function addDoctor(program: Command, shell: Shell): void {
  addCommand(program, {
    usage: "doctor",
    summary: "check what the service needs, and say what is wrong",
    description:
      "Check what the service needs: Node, options, data directory, PKCS#11 module, token, PIN, keys, database, clock, ports, its certificate, CRLs. Says what is wrong and what to do, and changes nothing. Exits with 1 when something is wrong. The PIN is tried only when no service runs and the token counts no failed try.",
    examples: ["npx chancery doctor", "npx chancery doctor --config /etc/chancery.yaml --json"],
  })
    .option("--config <file>", "YAML file with options; the environment wins over it")
    .action(async ({ config, json }: { config?: string; json?: boolean }) => {
      const findings = await examine(shell, config);
      const wrong = findings.filter(({ verdict }) => verdict === "wrong").length;
      print(shell, { document: { healthy: wrong === 0, checks: findings }, text: findingsText(findings) }, json);
      if (wrong > 0)
        throw new Fault("refusedToStart", `${wrong} of ${findings.length} checks found something wrong: do what their lines say`);
    });
}

async function examine(shell: Shell, configFile: string | undefined): Promise<Finding[]> {
  const { examineNode, examineDataDirectory, examineAdminToken, examinePinFile, examineServiceCertificate } =
    await import("./examine-files.ts");
  const { config, findings } = await examineOptions(shell, configFile);
  const node = examineNode(process.versions.node);
  if (!config) return [node, ...findings];

  const [{ askOps, examineListeners }, { examineToken }, { examineDatabase }, { examineCrls }] = await Promise.all([
    import("./examine-listeners.ts"),
    import("./examine-token.ts"),
    import("./examine-database.ts"),
    import("./examine-crls.ts"),
  ]);
  const ops = await askOps(config);
  const database = await examineDatabase(config, shell.trials, ops.running);
  const token = await examineToken(config, shell.trials, { running: ops.running, keys: database.keys });
  return [
    node,
    ...findings,
    await examineDataDirectory(config),
    ...(await examineAdminToken(config, shell.trials, shell.now())),
    await examinePinFile(config, token.made),
    ...token.findings,
    ...database.findings,
    ...(await examineListeners(config, ops)),
    await examineServiceCertificate(config, shell.now()),
    ...(await examineCrls(config, shell.now(), ops.running)),
  ];
}

/** The options; those of an evaluation where nobody said for which environment, and production lacks some. */
async function examineOptions(shell: Shell, configFile: string | undefined): Promise<{ config?: Config; findings: Finding[] }> {
  const check = "options";
  const attempt = async (env: Shell["env"]): Promise<Config | string> =>
    readConfig({ ...shell, env }, configFile).catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
  const asGiven = await attempt(shell.env);
  if (typeof asGiven !== "string") return { config: asGiven, findings: [{ check, verdict: "ok", detail: `CHANCERY_ENV=${asGiven.env}` }] };
  const asEvaluation = shell.env["CHANCERY_ENV"] ? asGiven : await attempt({ ...shell.env, CHANCERY_ENV: "evaluation" });
  if (typeof asEvaluation === "string") return { findings: [{ check, verdict: "wrong", detail: asEvaluation }] };
  const detail = `checked as an evaluation, as npm start runs it; set CHANCERY_ENV=production to check for production`;
  return { config: asEvaluation, findings: [{ check, verdict: "ok", detail }] };
}
