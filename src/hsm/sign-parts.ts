import type { KeyReference } from "../ports/hsm.ts";
import type { Dispatcher } from "./dispatcher.ts";

/** Octets of one part, and parts on their way at once: what both sides hold of a stream, however long it is. */
const mostPartOctets = 1_048_576;
const partsOnTheWay = 3;

/** One stream: `stream` is a number that no other stream of this client has. */
export type PartStreamRequest = {
  readonly stream: number;
  readonly key: KeyReference;
  readonly purpose: "crl";
};

/**
 * Brings parts to the host in their order, as many at once as it may hold, and has the whole signed. The host keeps nothing of a stream
 * that fails.
 * @throws Fault as `Hsm.signParts`, and whatever `parts` throw.
 */
export async function signInParts(
  dispatcher: Dispatcher,
  parts: AsyncIterable<Uint8Array>,
  { stream, key, purpose }: PartStreamRequest,
): Promise<Uint8Array<ArrayBuffer>> {
  const onTheWay: Promise<undefined>[] = [];
  let index = 0;
  try {
    for await (const part of parts) {
      for (const bytes of slices(part)) {
        if (onTheWay.length === partsOnTheWay) await onTheWay.shift();
        const sent = dispatcher.call({ act: "part", stream, index, algorithm: key.algorithm, bytes }, { priority: "crl" });
        // Whoever waits for it is told; that may be later.
        sent.catch(() => {});
        onTheWay.push(sent);
        index += 1;
      }
    }
    await Promise.all(onTheWay);
    return await dispatcher.call({ act: "signParts", stream, parts: index, key, purpose }, { priority: "crl" });
  } catch (error) {
    // A part that is still on its way would begin the stream anew.
    await Promise.allSettled(onTheWay);
    dispatcher.drop(stream);
    throw error;
  }
}

function* slices(part: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < part.length; start += mostPartOctets) yield part.subarray(start, start + mostPartOctets);
}
