import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { outputOf } from "../conformance/execute.ts";
import { checkout, endOnSignals } from "../conformance/service.ts";
import { measureAcme } from "./acme.ts";
import { measureCrl } from "./crl.ts";
import { measureOcsp } from "./ocsp.ts";
import { measureRest } from "./rest.ts";
import { measureRevocation } from "./revocation.ts";

const parts = { rest: measureRest, acme: measureAcme, crl: measureCrl, revocation: measureRevocation, ocsp: measureOcsp } as const;

const { values, positionals } = parseArgs({ options: { quick: { type: "boolean", default: false } }, allowPositionals: true });

const tell = (line: string): void => void process.stdout.write(`${line}\n`);

/** The parts that are named, or all of them, one after the other. */
async function main(): Promise<void> {
  const unknown = positionals.filter((name) => !Object.hasOwn(parts, name));
  if (unknown.length > 0) throw new Error(`there is no part ${unknown.join(", ")}: the parts are ${Object.keys(parts).join(", ")}`);
  const directory = await mkdtemp(join(tmpdir(), "chancery-bench-"));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(directory, { recursive: true, force: true }));
  const load = join(directory, "load");
  await outputOf("go", ["build", "-o", load, "."], { directory: join(checkout, "bench/load"), limitSeconds: 300 });
  for (const [name, measure] of Object.entries(parts)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    await measure({ load, directory, quick: values.quick, tell });
  }
}

endOnSignals();
await main();
