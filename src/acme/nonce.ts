import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";
import type { Database } from "../database/connect.ts";
import { decodeBase64url, encodeBase64url } from "../jose/base64url.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import { emptySlot, forgetNonceKeys, holdEpoch, type MintedNonce, type NonceKey, readNonceKeys, recordNonceKey } from "./nonce-store.ts";

/**
 * Anti-replay nonces (RFC 8555 §6.5) that every instance honours and that cost no statement to mint. A nonce is
 *
 *     key id (1) ‖ epoch (4) ‖ time of minting, seconds (4) ‖ random (12) ‖ HMAC-SHA256 of these, 128 bits (16)
 *
 * in base64url, 50 characters. That it was spent is a row of an unlogged table: a crash of the server empties it, and with it the epoch,
 * which ends the life of every nonce minted before.
 */
export type Nonces = {
  readonly mint: () => string;
  /**
   * What is to be recorded when the nonce is spent; undefined for one that none of our instances minted, that is past its life or of an epoch
   * that is over. Of an epoch that this instance has not heard of yet, the statement that records the nonce decides.
   * @throws Fault `malformed` when it is not base64url (RFC 8555 §6.5.2).
   */
  readonly open: (nonce: string) => MintedNonce | undefined;
  /** Told the epoch that a statement saw; none after a crash of the server. May be told late: which one stands is read where it is not ours. */
  readonly sawEpoch: (epoch: Uint8Array | undefined) => Promise<void>;
  /** Reads keys and epoch anew, makes the next key when the newest is a day old, and empties the slot that is past its life. */
  readonly refresh: () => Promise<void>;
};

export type NoncesWorld = { readonly database: Database; readonly clock: Clock; readonly random: Random };

const lifeMs = 3_600_000;
const keyLifeMs = 24 * 3_600_000;
/** Every instance has read a key by the time it is minted with. */
const keyRestMs = 60_000;
/** How far the clocks of two instances may be apart. */
const skewMs = 600_000;
const headLength = 21;
const sealLength = 16;

/** Nonces over this database: their keys and epoch are made where there are none. */
export async function openNonces({ database, clock, random }: NoncesWorld): Promise<Nonces> {
  let keys: readonly SealingKey[] = [];
  let epoch: Uint8Array = new Uint8Array(4);
  const over = new Set<string>();

  let reading = Promise.resolve();
  let waiting: Promise<void> | undefined;

  const turn = async (): Promise<void> => {
    const next = await database.read((sql) => holdEpoch(sql, random.bytes(4)));
    if (hex(next) === hex(epoch)) return;
    over.add(hex(epoch));
    over.delete(hex(next));
    epoch = next;
  };
  /** One after the other, so that the last to be read is the one that stands; whoever asks meanwhile shares the next reading. */
  const readEpoch = (): Promise<void> => {
    waiting ??= reading
      .catch(() => {})
      .then(() => {
        waiting = undefined;
        reading = turn();
        return reading;
      });
    return waiting;
  };
  const refresh = async (): Promise<void> => {
    const now = clock.now();
    keys = await readKeys(database);
    const [newest] = keys;
    if (!newest || now.getTime() - newest.createdAt.getTime() > keyLifeMs) {
      const next: NonceKey = { id: ((newest?.id ?? -1) + 1) % 256, secret: random.bytes(32), createdAt: now };
      await database.read((sql) => recordNonceKey(sql, next));
      await database.read((sql) => forgetNonceKeys(sql, new Date(now.getTime() - 2 * keyLifeMs)));
      keys = await readKeys(database);
    }
    await readEpoch();
    const past = pastSlot(now);
    if (past !== undefined) await database.read((sql) => emptySlot(sql, past));
  };

  await refresh();
  return {
    mint: () => {
      const now = clock.now().getTime();
      const key = keys.find(({ createdAt }) => createdAt.getTime() <= now - keyRestMs) ?? keys.at(-1);
      if (!key) throw new Error("there is no key to seal nonces with");
      const head = Buffer.alloc(headLength);
      head.writeUInt8(key.id, 0);
      head.set(epoch, 1);
      head.writeUInt32BE(Math.floor(now / 1000), 5);
      head.set(random.bytes(12), 9);
      return encodeBase64url(Buffer.concat([head, seal(key, head)]));
    },
    open: (text) => {
      const nonce = Buffer.from(decodeBase64url(text, "the nonce"));
      if (nonce.length !== headLength + sealLength) return undefined;
      const head = nonce.subarray(0, headLength);
      const key = keys.find(({ id }) => id === head[0]);
      if (!key || !timingSafeEqual(seal(key, head), nonce.subarray(headLength))) return undefined;
      const mintedMs = head.readUInt32BE(5) * 1000;
      const age = clock.now().getTime() - mintedMs;
      const minted = head.subarray(1, 5);
      if (age > lifeMs || age < -skewMs || over.has(hex(minted))) return undefined;
      return { slot: slotAt(mintedMs), epoch: minted, nonce: head };
    },
    sawEpoch: async (seen) => {
      if (seen === undefined || hex(seen) !== hex(epoch)) await readEpoch();
    },
    refresh,
  };
}

type SealingKey = Omit<NonceKey, "secret"> & { readonly secret: KeyObject };

async function readKeys(database: Database): Promise<readonly SealingKey[]> {
  const keys = await database.read(readNonceKeys);
  return keys.map((key) => ({ ...key, secret: createSecretKey(key.secret) }));
}

function seal({ secret }: SealingKey, head: Uint8Array): Uint8Array {
  return createHmac("sha256", secret).update(head).digest().subarray(0, sealLength);
}

const hourMs = 3_600_000;

function slotAt(timeMs: number): 0 | 1 | 2 {
  return ([0, 1, 2] as const)[Math.floor(timeMs / hourMs) % 3] ?? 0;
}

/**
 * The slot of the hour before the last one, which is that of the next: once its nonces are past their life on every instance's clock, and
 * before any instance's clock is in the next hour.
 */
function pastSlot(now: Date): 0 | 1 | 2 | undefined {
  const intoHour = now.getTime() % hourMs;
  return intoHour < skewMs || intoHour >= hourMs - skewMs ? undefined : slotAt(now.getTime() - 2 * hourMs);
}

function hex(octets: Uint8Array): string {
  return Buffer.from(octets).toString("hex");
}
