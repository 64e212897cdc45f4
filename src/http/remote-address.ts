import { isIPv6, type Socket } from "node:net";

/**
 * Closes connections of an address that has `maxConnections` open already: one host must not keep out all others. An IPv6 address counts with its
 * /64, all of which one host can take.
 * @see RFC 4291 §2.5.1
 */
export function connectionCap(maxConnections: number): (socket: Socket) => void {
  const open = new Map<string, number>();
  return (socket) => {
    const peer = peerOf(socket.remoteAddress ?? "");
    const count = open.get(peer) ?? 0;
    if (count >= maxConnections) {
      socket.destroy();
      return;
    }
    open.set(peer, count + 1);
    socket.once("close", () => {
      const left = (open.get(peer) ?? 1) - 1;
      if (left === 0) open.delete(peer);
      else open.set(peer, left);
    });
  };
}

/** The address that connections are counted by: an IPv4 address, mapped or not, or the first four groups of an IPv6 address. */
export function peerOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const text = address.replace(/%.*$/, "");
  if (!isIPv6(text)) return address;
  const [head = "", tail = ""] = text.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === "" ? [] : tail.split(":");
  const groups = text.includes("::") ? [...before, ...Array<string>(8 - before.length - after.length).fill("0"), ...after] : before;
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
