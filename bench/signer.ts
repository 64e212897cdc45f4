import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A program of this directory that does nothing but sign, in a process and with a token of its own. */
export type Signer = AsyncDisposable & {
  /** Signatures per second at so many callers. */
  rate(load: { signatures: number; callers: number }): Promise<number>;
};

/** Starts `raw-sign.ts` (pkcs11js alone) or `host-sign.ts` (through the service's HSM client) over a SoftHSM token; both sign `tbs`. */
export async function startSigner(
  program: "raw-sign.ts" | "host-sign.ts",
  { module, tbs }: { module: string; tbs: Uint8Array },
): Promise<Signer> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-signer-"));
  const environment: NodeJS.ProcessEnv = { ...process.env, SOFTHSM2_CONF: join(directory, "softhsm2.conf") };
  await mkdir(join(directory, "tokens"));
  await writeFile(
    join(directory, "softhsm2.conf"),
    `directories.tokendir = ${join(directory, "tokens")}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  const signed = Buffer.from(tbs).toString("base64");
  const parameters = program === "raw-sign.ts" ? [module, signed] : [module, directory, signed];
  const child = fork(fileURLToPath(new URL(program, import.meta.url)), parameters, {
    env: environment,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const answer = async (): Promise<unknown> => {
    const failed = ended.then(([status]) => {
      throw new Error(`${program} ended with ${String(status)}`);
    });
    const [message] = (await Promise.race([once(child, "message"), failed])) as [unknown];
    return message;
  };
  await answer();
  return {
    async rate(load) {
      child.send(load);
      const { seconds } = (await answer()) as { seconds: number };
      return load.signatures / seconds;
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect();
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
