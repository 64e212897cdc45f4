import { expect, test } from "vitest";
import { peerOf } from "../../src/http/remote-address.ts";

test.for([
  { address: "192.0.2.1", peer: "192.0.2.1" },
  { address: "::ffff:192.0.2.1", peer: "192.0.2.1" },
  { address: "2001:db8::1", peer: "2001:db8:0:0::/64" },
  { address: "2001:db8:0:0:ffff::1", peer: "2001:db8:0:0::/64" },
  { address: "2001:db8:0:1::1", peer: "2001:db8:0:1::/64" },
  { address: "2001:db8:1:2:3:4:5:6", peer: "2001:db8:1:2::/64" },
  { address: "::1", peer: "0:0:0:0::/64" },
  { address: "1::", peer: "1:0:0:0::/64" },
  { address: "fe80::1%eth0", peer: "fe80:0:0:0::/64" },
  { address: "", peer: "" },
])("connections of $address are counted as those of $peer (RFC 4291 §2.2, §2.5.1)", ({ address, peer }) => {
  expect(peerOf(address)).toBe(peer);
});
