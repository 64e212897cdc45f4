import { Fault } from "../fault.ts";

/**
 * Where the private key of this SubjectPublicKeyInfo is printed for all to read, or undefined.
 * @param spkiSha256 64 lower-case hex digits of a SubjectPublicKeyInfo that has passed the gate, which leaves each key one encoding.
 */
export function publishedIn(spkiSha256: string): string | undefined {
  return published.get(spkiSha256);
}

/**
 * Reads a list of keys, one `<SHA-256 of the SPKI in hex> <source>` a line; empty lines are passed over.
 * @throws Fault `refusedToStart` for the first line that is anything else or occurs twice: a list that loses lines silently protects nobody.
 */
export function parseKeyList(text: string): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "") continue;
    const [, hash = "", source = ""] = /^([0-9a-f]{64}) (\S.*)$/.exec(line) ?? [];
    if (hash === "" || keys.has(hash)) throw new Fault("refusedToStart", `line ${index + 1} of the list of published keys is not usable`);
    keys.set(hash, source);
  }
  return keys;
}

// Private keys printed in standards, and those a reader of SEC 2 can write down: 1, 2, 3 and n − 1.
const published = parseKeyList(`
5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4 RFC 6979 A.2.5
2f95601fa82060b909bfc6b979dbd303d34d34e0afb27ea496beac362f242a4b RFC 6979 A.2.6
2bd1bb0c44a897c30a7aa0991cde38d8062fe441de50da0f46825344f602e827 RFC 7515 A.3
51b944cdfa544d4c3273aa6bf350625a7dd53bbb6a71723274f538b19a207760 RFC 7517 A.2
9146ce73d6abeda5e0ab6926e7bd9b563f2f2258b488d520534a0b84ba5871df RFC 7515 A.4
06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9 RFC 8037 A.1
5cd252fb0ce8932436faf8ccd1040981b89ee4ad6b9fe9e2a2b7e71aacb27cd3 SEC 2 2.4.2 (private key 1)
dc0ce633dbcc913dafafa4b89ac44d8ce683fdfc3f60c8bdf21213b9f2b534ba SEC 2 2.4.2 (private key 2)
2b985badf1bac8293f6b92e8c0acc1139bc5a5ecbbf97a6271dcf0d4f6c68af6 SEC 2 2.4.2 (private key 3)
3fda76216227ff687422fb555d659338c62577cbc3e503dddc34b7f6f1abbde5 SEC 2 2.4.2 (private key n - 1)
29f8fe74f38c49d49810cec736a26732a30bff2e64827b709a1c63340d4f7181 SEC 2 2.5.1 (private key 1)
e04caab525cff38094dc994b28e8873b81fc5c8d1f4ce89413ff8fb31670fa82 SEC 2 2.5.1 (private key 2)
86d5eff39312850996dac2e1bc3297a9fe58aa656947f3c35348e50e6a59ba08 SEC 2 2.5.1 (private key 3)
4257b2ffc3579064575e20fedb0974bbfc3c4438b09e668e85cb51a7ac7a4bd7 SEC 2 2.5.1 (private key n - 1)
6fd13c2435a361e7c588cd17f55f5ad3df0177a66c1727a6a200845f4d7ab88c RFC 7515 A.2
ad32320cf6c596d884b05381ba573aba8ddd5749b4de8f4a23a79f9a89ddaeb2 RFC 7517 A.1
8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878 RFC 9500 2.1 (testRSA2048)
96465ea5dc9bb2da7b351d808a7196e5761f2412a5040131c68d719aaba28fb9 RFC 9500 2.1 (testRSA4096)
b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e RFC 9500 2.3 (testECCP256)
c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a RFC 9500 2.3 (testECCP384)
`);
