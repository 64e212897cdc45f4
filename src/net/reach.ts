import { isIP, isIPv6 } from "node:net";
import type { Socket } from "node:net";

import { Fault } from "../fault.ts";
import type { AddressSlots } from "./address-slots.ts";
import { final, transient } from "./attempt.ts";
import type { Attempt, Probe } from "./attempt.ts";
import type { Dial } from "./dial.ts";
import type { AddressClass, Judgement } from "./egress.ts";
import { lookupFailed } from "./lookup-failure.ts";
import { lookUpAddresses } from "./resolver.ts";
import type { Resolver } from "./resolver.ts";

/** What a probe reaches the outside with. */
export type Outside = {
  readonly resolver: Resolver;
  readonly judge: (address: string, port: number) => Judgement;
  /** Whether an applicant may be told an address. */
  readonly mayTell: (address: string) => boolean;
  readonly dial: Dial;
  readonly slots: AddressSlots;
  /** How long a question waits for its turn at an address. */
  readonly slotWaitMs: number;
  /** Told of every address that was not contacted. */
  readonly refused: (refusal: Refusal) => void;
};

export type Refusal = { readonly host: string; readonly address: string; readonly class: AddressClass };

/** Where to go. */
export type Destination = {
  /** A canonical DNS name or IP address. */
  readonly host: string;
  readonly port: number;
  /** The host as a sentence for the applicant names it: what a redirect named is not repeated. */
  readonly called: string;
  /** What it means that no address may be contacted. */
  readonly deniedAs: "dns" | "connection";
};

/** A connection, and its place at the address: both end with it. */
export type Connection = Disposable & { readonly socket: Socket; readonly address: string };

/**
 * Looks the host up once, judges every address and dials the first IPv6 address that passed; after a failed dial, and only then, the first
 * IPv4 address. What is dialled is the text that was judged.
 * @throws Fault `validatorUnavailable` when no resolver answers, or the address is taken by other questions all the while.
 */
export async function reach(outside: Outside, destination: Destination, probe: Probe): Promise<Attempt<Connection>> {
  const found = await addressesOf(outside, destination, probe);
  if ("failure" in found) return found;
  const { allowed, denied } = judged(outside, destination, found.answer);
  const choice = [allowed.find((address) => isIPv6(address)), allowed.find((address) => !isIPv6(address))].filter(
    (each) => each !== undefined,
  );
  if (choice.length === 0) {
    return final(destination.deniedAs, `${destination.called} leads to no address that is contacted: ${shown(outside, denied)}`);
  }
  const failures: string[] = [];
  for (const address of choice) {
    probe.trail.address = address;
    const connection = await connectTo(outside, { address, port: destination.port }, probe);
    if (typeof connection !== "string") return { answer: connection };
    failures.push(`${address} port ${destination.port}: ${connection}`);
  }
  return transient("connection", `${destination.called} could not be reached at ${failures.join("; ")}`);
}

/** What an applicant is told of addresses that are not contacted. */
function shown({ mayTell }: Outside, denied: readonly Refusal[]): string {
  const told = new Set(denied.map((refusal) => (mayTell(refusal.address) ? `${refusal.address} (${refusal.class})` : refusal.class)));
  const first = [...told].slice(0, maxShown);
  return [...first, ...(told.size > maxShown ? [`${told.size - maxShown} more`] : [])].join(", ");
}

/** The resolver that was asked last, where an applicant may be told its address. */
export function toldResolver({ mayTell }: Pick<Outside, "mayTell">, { trail: { resolver } }: Probe): string | undefined {
  return resolver !== undefined && mayTell(resolver) ? resolver : undefined;
}

async function addressesOf(outside: Outside, { host, called }: Destination, probe: Probe): Promise<Attempt<readonly string[]>> {
  const { resolver } = outside;
  probe.trail.addresses = [];
  if (isIP(host)) {
    probe.trail.addresses = [host];
    return { answer: [host] };
  }
  const lookups = await Promise.all([lookUpAddresses(resolver, host, "AAAA", probe), lookUpAddresses(resolver, host, "A", probe)]);
  const addresses = lookups.flatMap((lookup) => ("records" in lookup ? lookup.records.slice(0, maxAddresses) : []));
  if (addresses.length > 0) {
    probe.trail.addresses = addresses;
    return { answer: addresses };
  }
  const failures = lookups.flatMap((lookup) => ("failure" in lookup ? [lookup.failure] : []));
  // That one of two look-ups failed says less than that the name does not exist, and more than that it has no such records.
  const failure = failures.find((each) => each === "NXDOMAIN") ?? failures[0] ?? "no data";
  return lookupFailed(called, failure, toldResolver(outside, probe));
}

/** Of a longer list of one family no more is judged: one of each family is dialled at most. */
const maxAddresses = 32;
/** Of what was denied no more is told: a name may lead to many such addresses. */
const maxShown = 8;

function judged({ judge, refused }: Outside, { host, port }: Destination, addresses: readonly string[]) {
  const denied: Refusal[] = [];
  const allowed = addresses.filter((address) => {
    const judgement = judge(address, port);
    if (judgement !== "allowed") denied.push({ host, address, class: judgement.denied });
    return judgement === "allowed";
  });
  denied.slice(0, maxShown).forEach(refused);
  return { allowed, denied };
}

async function connectTo(
  { dial, slots, slotWaitMs }: Outside,
  to: { readonly address: string; readonly port: number },
  { signal, tenant }: Probe,
): Promise<Connection | string> {
  const leave = await slots({ address: to.address, tenant }, slotWaitMs, signal);
  if (!leave) throw new Fault("validatorUnavailable", `other questions to ${to.address} are under way`);
  try {
    const socket = await dial(to, signal);
    if (typeof socket === "string") {
      leave();
      return socket;
    }
    return {
      socket,
      address: to.address,
      [Symbol.dispose]: () => {
        socket.destroy();
        leave();
      },
    };
  } catch (error) {
    leave();
    throw error;
  }
}
