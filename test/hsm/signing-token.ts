import { randomBytes } from "node:crypto";

import { openHsm } from "../../src/hsm/client.ts";
import type { HsmOptions } from "../../src/hsm/client.ts";
import type { TokenOptionNames } from "../../src/hsm/supervisor.ts";
import { spkiSha256, verificationKey } from "../../src/pki/algorithm.ts";
import type { KeyAlgorithm, VerificationKey } from "../../src/pki/algorithm.ts";
import type { Hsm, KeyReference, Purpose } from "../../src/ports/hsm.ts";
import { recordedEvents } from "../support/events.ts";
import type { RecordedEvents } from "../support/events.ts";
import type { FreshToken } from "../support/token.ts";

/** A token opened by the client, and what it told. */
export type OpenHsm = AsyncDisposable & { readonly hsm: Hsm; readonly events: RecordedEvents };

/** The options that a refusal to open a test's token names. */
export const optionNames: TokenOptionNames = {
  module: "CHANCERY_PKCS11_MODULE",
  token: "CHANCERY_PKCS11_TOKEN",
  pinFile: "CHANCERY_PKCS11_PIN_FILE",
};

/** Opens a token through its host. */
export async function openToken(token: FreshToken, options: Partial<HsmOptions> = {}): Promise<OpenHsm> {
  const events = recordedEvents();
  const { module, label, pin, softHsmConf } = token;
  const limits = { sessions: 4, deadlineMs: 5000, queueLimit: 20_000 };
  const defaults = { module, token: label, pin, softHsmConf, ...limits, production: false, administration: true, optionNames };
  const hsm = await openHsm({ ...defaults, ...options }, { events });
  return { hsm, events, [Symbol.asyncDispose]: () => hsm[Symbol.asyncDispose]() };
}

export type SigningKey = { readonly reference: KeyReference; readonly spki: Uint8Array; readonly verification: VerificationKey };

/** A new key in the token. */
export async function newKey(
  hsm: Hsm,
  {
    name = "key",
    algorithm = "P-256",
    purposes = ["binding", "health"],
  }: { name?: string; algorithm?: KeyAlgorithm; purposes?: Purpose[] } = {},
): Promise<SigningKey> {
  const ckaId = randomBytes(16).toString("hex");
  const { spki } = await hsm.generate({ ckaId, name, algorithm, purposes });
  return { reference: { token: hsm.token, ckaId, algorithm, spkiSha256: spkiSha256(spki) }, spki, verification: verificationKey(spki) };
}

/** A text that the binding test could sign. */
export function bindingText(note: string | number): Uint8Array {
  return Buffer.from(`chancery binding\n${note}\n`);
}

/** Waits until `holds`, looking every 25 ms. The test's own time limit ends a wait in vain. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 25));
}

/** The processes that this one started and that still run, by command line. */
export async function childProcesses(): Promise<{ pid: number; command: string }[]> {
  const { readdir, readFile } = await import("node:fs/promises");
  const found: { pid: number; command: string }[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const status = await readFile(`/proc/${entry}/stat`, "utf8");
      const parent = Number(status.slice(status.lastIndexOf(")") + 2).split(" ")[1]);
      if (parent !== process.pid) continue;
      found.push({ pid: Number(entry), command: (await readFile(`/proc/${entry}/cmdline`, "utf8")).replaceAll("\0", " ") });
    } catch {
      // The process ended while it was looked at.
    }
  }
  return found;
}
