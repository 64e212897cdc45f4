import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execute } from "./execute.ts";
import type { Run } from "./matrix.ts";
import { checkout, startService } from "./service.ts";

/**
 * What the README tells a newcomer to type works, in its order: `npm start`, and against the service that it starts every other command of the
 * README's shell blocks. Only `./var` and the port are others, since a machine may have a service of its own.
 */
export async function readme({ matrix }: Run, directory: string): Promise<void> {
  const [first, ...commands] = shellCommands(await readFile(join(checkout, "README.md"), "utf8"));
  await matrix.check({ subject: "README", peer: "chancery", check: "begins with npm start" }, async () =>
    first === "npm start" ? undefined : `the first command is ${first}`,
  );
  await using service = await startService({}, ["npm", "start"]);
  const curlHome = join(directory, "curl");
  await mkdir(curlHome);
  // An HTTP status of 400 or more is to fail the command.
  await writeFile(join(curlHome, ".curlrc"), "fail\nsilent\nshow-error\n");
  const environment = { ...service.environment, CURL_HOME: curlHome };
  for (const command of commands) {
    const here = command.replaceAll(/(?:\.\/)?\bvar\//g, `${service.dataDirectory}/`).replaceAll("https://localhost:9443", service.baseUrl);
    await matrix.check({ subject: "README", peer: "chancery", check: command }, async () => {
      const { status, stdout, stderr } = await execute("bash", ["-euo", "pipefail", "-c", here], { directory: checkout, environment });
      return status === 0 ? undefined : `exit status ${status}: ${stderr}${stdout}`;
    });
  }
}

/** The lines of the blocks that are marked `sh`. */
function shellCommands(markdown: string): string[] {
  return [...markdown.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, block = ""]) => block.trim().split("\n"));
}
