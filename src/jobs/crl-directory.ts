import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { PublishedCrl } from "../ca/crl-slot.ts";
import { listCrlSlots } from "../ca/crl-store.ts";
import type { ServedCrl } from "../ca/served-crl.ts";
import { crlParts } from "../ca/write-crl.ts";
import type { Database } from "../database/connect.ts";
import { replaceFile } from "../durable-file.ts";
import { Fault } from "../fault.ts";
import { type CrlFile, openCrlFile } from "./crl-file.ts";

/** The CRLs of every slot, in memory and as files that any web server can serve: `issuing-1.crl`, `issuing-1/7.crl`. */
export type CrlDirectory = AsyncDisposable & {
  /**
   * Brings both up to what is published. What cannot be had now stays as it was. No CRL is followed by an older one: where the database was
   * restored from a backup, the newer one stays until a newer still is published.
   */
  readonly refresh: () => Promise<void>;
  /** What is served under a slot's path; undefined before the first. */
  readonly crl: (path: string) => ServedCrl | undefined;
  readonly all: () => ReadonlyMap<string, ServedCrl>;
};

/** Longest CRL that is served from memory: longer ones lie in their file alone. */
const memoryOctets = 1024 * 1024;

/** Opens the directory, and brings it up to date as far as that can be done now. */
export async function openCrlDirectory(database: Database, directory: string): Promise<CrlDirectory> {
  const held = new Map<string, Held>();
  const hold = (path: string, next: Held): void => {
    const before = held.get(path);
    held.set(path, next);
    if (before?.file !== next.file) before?.file?.release();
  };
  const refresh = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const { path, published } of await database.read(listCrlSlots)) {
      if (!published) continue;
      try {
        const slot = { path, published, file: join(directory, `${path}.crl`) };
        for await (const next of steps(database, slot, held.get(path))) hold(path, next);
      } catch (cause) {
        failures.push(cause);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  return {
    refresh,
    crl: (path) => held.get(path)?.crl,
    all: () => new Map([...held].map(([path, { crl }]) => [path, crl])),
    async [Symbol.asyncDispose]() {
      for (const { file } of held.values()) file?.release();
    },
  };
}

/** What is served; `file` is what it is read from, where it is not in memory. */
type Held = { readonly crl: ServedCrl; readonly file?: CrlFile };

type Slot = { readonly path: string; readonly published: PublishedCrl; readonly file: string };

/** What is to be served of a slot, one after the other, until memory and file are what is published. */
async function* steps(database: Database, { published, file }: Slot, before: Held | undefined): AsyncGenerator<Held, undefined> {
  const standing = before ?? (await heldInFile(file, published));
  if (standing && !before) yield standing;
  if (standing && standing.crl.number > published.number) return;
  const same = standing?.crl.sha256 === published.sha256;
  if (same && (await stat(file).catch(() => undefined))?.size === published.octets) return;

  if (published.octets > memoryOctets) {
    const kept = same ? standing.file?.parts() : undefined;
    await replaceFile(file, { content: asPublished(kept ?? crlParts({ database }, published), published), mode: 0o644 });
    const written = await heldInFile(file, published);
    if (written?.crl.sha256 !== published.sha256) {
      written?.file?.release();
      throw unlike();
    }
    yield written;
    return;
  }
  const body = same && standing.crl.body instanceof Uint8Array ? standing.crl.body : await whole(database, published);
  // It is served even where it cannot be written.
  yield { crl: { ...published, body } };
  await replaceFile(file, { content: body, mode: 0o644 });
}

async function whole(database: Database, published: PublishedCrl): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of asPublished(crlParts({ database }, published), published)) parts.push(part);
  return Buffer.concat(parts);
}

/** The same parts, which end in a Fault unless they are what was published: who takes them to their end has nothing else. */
async function* asPublished(
  parts: AsyncIterable<Uint8Array>,
  { sha256, octets }: Pick<PublishedCrl, "sha256" | "octets">,
): AsyncGenerator<Uint8Array, undefined> {
  const sum = createHash("sha256");
  let length = 0;
  for await (const part of parts) {
    sum.update(part);
    length += part.length;
    yield part;
  }
  if (length !== octets || sum.digest("hex") !== sha256) throw unlike();
}

function unlike(): Fault {
  return new Fault("internal", "the CRL was not read as it was published");
}

/** What lies in a file, be it what is published or another CRL; undefined where there is none that can be read. */
async function heldInFile(path: string, published: PublishedCrl): Promise<Held | undefined> {
  const file = await openCrlFile(path);
  if (!file) return undefined;
  const fields = file.sha256 === published.sha256 ? published : await file.fields();
  if (!fields || file.octets > memoryOctets) {
    if (!fields) file.release();
    return fields && { crl: { ...fields, sha256: file.sha256, octets: file.octets, body: file.parts }, file };
  }
  const parts: Uint8Array[] = [];
  for await (const part of file.parts()) parts.push(part);
  file.release();
  return { crl: { ...fields, sha256: file.sha256, octets: file.octets, body: Buffer.concat(parts) } };
}
