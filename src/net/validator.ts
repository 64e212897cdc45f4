/**
 * The child that asks machines of an applicant's choice: the only process that dials them. It holds no PIN, no database and no secret.
 * Started by `validator-process.ts`; speaks the frames of `frame.ts` over the channel to its parent, and ends with it.
 */
import { getServers } from "node:dns";
import { networkInterfaces } from "node:os";

import { Fault } from "../fault.ts";
import { addressSlots } from "./address-slots.ts";
import { dialer } from "./dial.ts";
import { parseDnsServer } from "./dns-server.ts";
import { judge, mayBeTold, ownAddresses } from "./egress.ts";
import type { EgressPolicy, OwnAddress } from "./egress.ts";
import type { FrameFromValidator, FrameToValidator, Opening } from "./frame.ts";
import { answer } from "./question.ts";
import type { Asked, Prober } from "./question.ts";

/** Questions under way: what the end of the channel ends. */
const underWay = new Set<AbortController>();

/** Connections to one address at a time, half of them of one account (AV-5). */
const maxPerAddress = 4;

// The parent decides when to end: Ctrl-C reaches the whole process group.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", () => {
  for (const question of underWay) question.abort();
});
// The first frame says what may be contacted; later ones only what is our own, which is not.
process.once("message", (first: FrameToValidator) => {
  if (first.frame !== "open") return;
  const { opening } = first;
  const policy = { current: { ...opening.policy, own: withMachine(opening.policy.own) } };
  const prober = open(opening, policy);
  process.on("message", (frame: FrameToValidator) => {
    if (frame.frame === "question") void serve(prober, frame, opening.times.totalMs);
    if (frame.frame === "own") policy.current = { ...policy.current, own: withMachine(frame.own) };
  });
  send({ frame: "opened" });
});

/** Listeners on every address are at those that this machine has now. */
function withMachine(own: readonly OwnAddress[]): readonly OwnAddress[] {
  const machine = Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
  return ownAddresses(own, machine);
}

function open(opening: Opening, policy: { readonly current: EgressPolicy }): Prober {
  const servers = (opening.dnsServers ?? getServers()).map(parseDnsServer).filter((server) => server !== undefined);
  return {
    opening,
    outside: {
      resolver: { servers, triesMs: opening.times.dnsTriesMs },
      judge: (address, port) => judge(address, port, policy.current),
      mayTell: (address) => mayBeTold(address, policy.current),
      dial: dialer(opening.times.connectMs),
      slots: addressSlots(maxPerAddress),
      slotWaitMs: opening.times.connectMs,
      refused: (refusal) => send({ frame: "refused", ...refusal }),
    },
  };
}

async function serve(prober: Prober, { id, ...asked }: Asked & { readonly id: number }, totalMs: number): Promise<void> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), totalMs);
  underWay.add(over);
  try {
    send({ frame: "outcome", id, outcome: await answer(prober, asked, over.signal) });
  } catch (error) {
    // A bug met by hostile bytes ends its question, not the others.
    if (!(error instanceof Fault)) send({ frame: "failed", where: whereOf(error) });
    send({ frame: "unavailable", id, detail: error instanceof Fault ? error.detail : "the validator failed on this question" });
  } finally {
    clearTimeout(timer);
    underWay.delete(over);
  }
}

/** The kind of an error and the first places it came by. Its message is left out: it may quote what was read. */
function whereOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const places = (error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line));
  return [error.name, ...places.slice(0, 4).map((line) => line.trim())].join(" ");
}

function send(frame: FrameFromValidator): void {
  if (process.connected) process.send?.(frame);
}
