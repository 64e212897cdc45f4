import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Ca } from "../ca/ca.ts";
import { readAuthorityCertificate } from "../ca/crl-entry-store.ts";
import { readCrlOfSlot } from "../ca/crl-of-slot.ts";
import type { CrlSlot, PublishedCrl } from "../ca/crl-slot.ts";
import { listCrlSlots } from "../ca/crl-store.ts";
import { holdCrl, type RestoredWorld, takeOverCrl } from "../ca/restored-crl.ts";
import type { ServedCrl } from "../ca/served-crl.ts";
import { crlParts } from "../ca/crl-parts.ts";
import { replaceFile } from "../durable-file.ts";
import { Fault } from "../fault.ts";
import { type CrlFile, fileState, openCrlFile } from "./crl-file.ts";

/** The CRLs of every slot, in memory and as files that any web server can serve: `issuing-1.crl`, `issuing-1/7.crl`. */
export type CrlDirectory = AsyncDisposable & {
  /**
   * Reads what lies there, and takes over what is newer than the database; writes no file. To be done before the first CRL is published, which
   * would take the place of a newer one, and before anybody is answered.
   * @throws what kept a file from being read or taken over, when all were tried.
   */
  readonly look: () => Promise<void>;
  /**
   * Brings both up to what is published. What cannot be had now stays as it was. No CRL is followed by an older one: where the database was
   * restored from a backup, the newer one stays until a newer still is published, and what it lists is taken over.
   */
  readonly refresh: () => Promise<void>;
  /** What is served under a slot's path; undefined before the first. */
  readonly crl: (path: string) => ServedCrl | undefined;
  readonly all: () => ReadonlyMap<string, ServedCrl>;
};

/** Longest CRL that is served from memory: longer ones lie in their file alone. */
const memoryOctets = 1024 * 1024;

/** What the directory stands on. */
export type CrlDirectoryWorld = RestoredWorld;

/** Opens the directory, and brings it up to date as far as that can be done now. */
export async function openCrlDirectory(ca: CrlDirectoryWorld, directory: string): Promise<CrlDirectory> {
  const held = new Map<string, Held>();
  const hold = (path: string, next: Held): void => {
    const before = held.get(path);
    held.set(path, next);
    if (before?.file !== next.file) before?.file?.release();
  };
  /** Paths of which the file was read: from then on what is held tells. */
  const seen = new Set<string>();
  const lookAt = async (place: Place): Promise<void> => {
    const { path } = place.slot;
    if (seen.has(path)) return;
    const found = await heldInFile(ca, place);
    if (found) hold(path, found);
    seen.add(path);
  };
  /** By path: the CRL that is newer than the database's, of which everything is done. */
  const takenOver = new Map<string, string>();
  const newerThan = (slot: CrlSlot): ServedCrl | undefined => {
    const crl = held.get(slot.path)?.crl;
    const isNewer = crl && crl.number > (slot.published?.number ?? -1n) && takenOver.get(slot.path) !== crl.sha256;
    return isNewer ? crl : undefined;
  };
  const lookAround = async (): Promise<Round> => {
    const round = roundOf(await ca.database.read(listCrlSlots), directory);
    for (const place of round.places) await round.attempt(place, () => lookAt(place));
    const newer = round.places.flatMap(({ slot, ...rest }) => [newerThan(slot)].flatMap((crl) => (crl ? [{ ...rest, slot, crl }] : [])));
    // All are held before any is taken over, which may take long, and in which a publication would do away with what is newer.
    for (const place of newer) await round.attempt(place, async () => void (await holdCrl(ca, place.slot, place.crl)));
    for (const place of shardsFirst(newer)) {
      if (place.slot.shard === undefined && round.shardFailed(place.slot.authority)) continue;
      await round.attempt(place, async () => {
        await takeOverCrl(ca, place.slot, place.crl);
        takenOver.set(place.slot.path, place.crl.sha256);
      });
    }
    return round;
  };
  const look = async (): Promise<void> => (await lookAround()).end();
  const refresh = async (): Promise<void> => {
    const round = await lookAround();
    for (const place of round.places) {
      const { path, published } = place.slot;
      if (!published || !seen.has(path)) continue;
      await round.attempt(place, async () => {
        for await (const next of steps(ca, { ...place, published }, held.get(path))) hold(path, next);
      });
    }
    round.end();
  };
  return {
    look,
    refresh,
    crl: (path) => held.get(path)?.crl,
    all: () => new Map([...held].map(([path, { crl }]) => [path, crl])),
    async [Symbol.asyncDispose]() {
      for (const { file } of held.values()) file?.release();
    },
  };
}

/**
 * What is served; `file` is what it is read from, where it is not in memory. `state` is that of the file with it, as it was read or written;
 * undefined where it could not be written yet.
 */
type Held = { readonly crl: ServedCrl; readonly file?: CrlFile; readonly state: string | undefined };

type Place = { readonly slot: CrlSlot; readonly file: string };

/** One look at every slot, in which one that fails holds up no other. */
type Round = {
  readonly places: readonly Place[];
  readonly attempt: (place: Place, act: () => Promise<void>) => Promise<void>;
  readonly shardFailed: (authority: string) => boolean;
  /** @throws the first failure, if there was one. */
  readonly end: () => void;
};

function roundOf(slots: readonly CrlSlot[], directory: string): Round {
  const failures: { readonly slot: CrlSlot; readonly cause: unknown }[] = [];
  return {
    places: slots.map((slot) => ({ slot, file: join(directory, `${slot.path}.crl`) })),
    async attempt({ slot }, act) {
      try {
        await act();
      } catch (cause) {
        failures.push({ slot, cause });
      }
    },
    shardFailed: (authority) => failures.some(({ slot }) => slot.authority === authority && slot.shard !== undefined),
    end() {
      const [first] = failures;
      if (first) throw first.cause;
    },
  };
}

/** Which shard a certificate names that the database does not know is told by the shard's own CRL alone, before the full one is taken over. */
function shardsFirst<T extends Place>(places: readonly T[]): T[] {
  return places.toSorted((one, other) => Number(one.slot.shard === undefined) - Number(other.slot.shard === undefined));
}

/** What is to be served of a slot, one after the other, until memory and file are what is published. */
async function* steps(
  ca: CrlDirectoryWorld,
  place: Place & { readonly published: PublishedCrl },
  standing: Held | undefined,
): AsyncGenerator<Held, undefined> {
  const { published, file } = place;
  if (standing && standing.crl.number > published.number) return;
  const same = standing?.crl.sha256 === published.sha256;
  if (same && standing.state !== undefined && (await fileState(file)) === standing.state) return;

  if (published.octets > memoryOctets) {
    await replaceFile(file, { content: asPublished(crlParts(ca, published), published), mode: 0o644 });
    const written = await heldInFile(ca, place);
    if (written?.crl.sha256 !== published.sha256) {
      written?.file?.release();
      throw unlike();
    }
    yield written;
    return;
  }
  const body = same && standing.crl.body instanceof Uint8Array ? standing.crl.body : await whole(ca, published);
  const crl = { ...published, body };
  // It is served even where it cannot be written.
  yield { crl, state: undefined };
  await replaceFile(file, { content: body, mode: 0o644 });
  yield { crl, state: await fileState(file) };
}

async function whole(ca: Pick<Ca, "database">, published: PublishedCrl): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of asPublished(crlParts(ca, published), published)) parts.push(part);
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

/**
 * What lies in a file: what is published, or another CRL of the slot that its authority signed, as after a restore of the database. Anything
 * else is told and left aside.
 */
async function heldInFile(ca: CrlDirectoryWorld, { slot, file: path }: Place): Promise<Held | undefined> {
  const file = await openCrlFile(path);
  if (!file) return undefined;
  try {
    const { sha256, octets, state } = file;
    const body = octets > memoryOctets ? file.parts : Buffer.concat(await Array.fromAsync(file.parts()));
    if (body instanceof Uint8Array) file.release();
    const fields =
      sha256 === slot.published?.sha256 ? slot.published : await readFields(ca, slot, body instanceof Uint8Array ? () => once(body) : body);
    if (fields) return { crl: { ...fields, sha256, octets, body }, state, ...(!(body instanceof Uint8Array) && { file }) };
    ca.events.tell("error", "crl.file.refused", { crl: slot.path, file: path, sha256 });
  } catch (cause) {
    file.release();
    throw cause;
  }
  file.release();
  return undefined;
}

async function readFields({ database }: CrlDirectoryWorld, slot: CrlSlot, parts: () => AsyncIterable<Uint8Array>) {
  const certificate = await database.read((sql) => readAuthorityCertificate(sql, slot.authority));
  return certificate && (await readCrlOfSlot(slot, certificate, parts));
}

async function* once(body: Uint8Array): AsyncGenerator<Uint8Array, undefined> {
  yield body;
}
