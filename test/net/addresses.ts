import type { AddressClass } from "../../src/net/egress.ts";

/** Addresses that an empty policy denies, and as what. Texts that are no address stand with them: a URL parser would take some for one. */
export const forbidden: readonly { readonly address: string; readonly denied: AddressClass }[] = [
  ...rows("unspecified", "0.0.0.0", "0.0.0.1", "0.255.255.255", "::", "::ffff:0.0.0.0", "64:ff9b::", "2002::", "::2"),
  ...rows("loopback", "127.0.0.1", "127.0.0.0", "127.255.255.255", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1"),
  ...rows(
    "loopback",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::",
    "2002:7f00:1::1",
  ),
  ...rows("link-local", "169.254.0.1", "169.254.255.255", "fe80::1", "febf:ffff::1", "::ffff:169.254.1.1"),
  ...rows("site-local", "fec0::1", "feff::1"),
  ...rows("multicast", "224.0.0.1", "239.255.255.255", "ff00::", "ff02::1", "64:ff9b::e000:1"),
  ...rows("reserved", "240.0.0.1", "255.255.255.255", "::ffff:255.255.255.255"),
  ...rows("teredo", "2001::1", "2001:0:ffff::1"),
  ...rows(
    "metadata",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
    "192.0.0.192",
  ),
  ...rows("metadata", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::a83f:8110"),
  ...rows("private", "10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"),
  ...rows("private", "100.64.0.1", "100.127.255.255", "fc00::1", "fdff::1", "::ffff:10.0.0.1", "64:ff9b::c0a8:1", "2002:ac10:1::"),
  ...rows("special-purpose", "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "192.88.99.1"),
  ...rows("special-purpose", "64:ff9b:1::1", "64:ff9b:1:ffff:ffff:ffff:7f00:1", "100::1", "2001:2::1", "2001:1ff:ffff::1", "2001:db8::1"),
  ...rows("special-purpose", "3fff::1", "3fff:fff::1", "5f00::1", "::ffff:0:127.0.0.1", "4000::1", "8000::1", "1::1"),
];

/** Texts that are no address in its plain form, though some parser takes them for one. */
export const noAddresses: readonly string[] = [
  "",
  "localhost",
  "2130706433",
  "0x7f000001",
  "0x7f.1",
  "127.1",
  "0177.0.0.1",
  "127.0.0.01",
  "①②⑦.0.0.1",
  "127.0.0.1 ",
  "1.1.1.1:80",
  "fe80::1%eth0",
  "fe80::1%25eth0",
  "::1%lo",
  "2606:4700:4700::1111%1",
  "[::1]",
  "::ffff:0x7f.0.0.1",
  ":::1",
  "1::2::3",
  "1.1.1.256",
  "1.1.1",
];

/** Public addresses beside those that are not. */
export const publicAddresses: readonly string[] = [
  "1.1.1.1",
  "93.184.216.34",
  "172.15.255.255",
  "172.32.0.1",
  "100.63.255.255",
  "100.128.0.1",
  "128.0.0.1",
  "2606:4700:4700::1111",
  "2a00::1",
  "9.255.255.255",
  "11.0.0.0",
  "126.255.255.255",
  "169.253.255.255",
  "169.255.0.0",
  "192.0.1.0",
  "192.167.255.255",
  "198.17.255.255",
  "198.20.0.0",
  "223.255.255.255",
  "2001:200::1",
  "2001:db7::1",
  "2001:db9::1",
  "2003::1",
  "2000::1",
  "3ffe::1",
  "::ffff:1.1.1.1",
  "64:ff9b::101:101",
  "2002:101:101::1",
];

/** The classes that the operator's list opens. */
export const listed: ReadonlySet<AddressClass> = new Set<AddressClass>(["loopback", "private", "special-purpose"]);

function rows(denied: AddressClass, ...addresses: readonly string[]): { address: string; denied: AddressClass }[] {
  return addresses.map((address) => ({ address, denied }));
}
