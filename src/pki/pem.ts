import { Fault } from "../fault.ts";

/** Longest text taken, in UTF-16 code units. */
export const maximumPemLength = 65_536;

/** Textual encoding of DER bytes: 64 characters a line, a line break after the last. @see RFC 7468 §3 */
export function encodePem(label: string, der: Uint8Array): string {
  const text = base64(der);
  let lines = "";
  for (let start = 0; start < text.length; start += 64) lines += `${text.slice(start, start + 64)}\n`;
  return `-----BEGIN ${label}-----\n${lines || "\n"}-----END ${label}-----\n`;
}

/**
 * The DER bytes of every block of a text, in order; read once, line by line. Text between blocks is passed over, as RFC 7468 §2 allows;
 * headers within a block are not.
 * @param labels what a block may be called.
 * @throws Fault `malformed` when there is no block, one of another label, one that does not end, or base64 that is not canonical.
 * @throws Fault `tooLarge` above 64 KiB.
 */
export function decodePem(text: string, ...labels: readonly [string, ...string[]]): Uint8Array<ArrayBuffer>[] {
  if (text.length > maximumPemLength) throw new Fault("tooLarge", `the PEM text is longer than ${maximumPemLength} characters`);
  const blocks: Uint8Array<ArrayBuffer>[] = [];
  let open: { label: string; body: string[] } | undefined;
  for (const line of text.split("\n")) {
    const content = line.trimEnd();
    const boundary = /^-----(BEGIN|END) ([A-Z0-9 ]{1,64})-----$/.exec(content);
    if (boundary === null) {
      if (content.startsWith("-----")) throw new Fault("malformed", "a PEM boundary is broken");
      open?.body.push(content);
    } else if (boundary[1] === "BEGIN") {
      open = openBlock(boundary[2] ?? "", labels, open !== undefined);
    } else {
      if (open === undefined || open.label !== boundary[2]) throw new Fault("malformed", "a PEM block ends that did not begin");
      blocks.push(decodeBase64(open.body.join("")));
      open = undefined;
    }
  }
  if (open !== undefined) throw new Fault("malformed", `the PEM block ${open.label} does not end`);
  if (blocks.length === 0) throw new Fault("malformed", `there is no PEM block ${labels[0]}`);
  return blocks;
}

function openBlock(label: string, labels: readonly string[], nested: boolean): { label: string; body: string[] } {
  if (nested) throw new Fault("malformed", "a PEM block begins inside another");
  if (!labels.includes(label)) throw new Fault("malformed", `the PEM block is a ${label}, not a ${labels[0]}`);
  return { label, body: [] };
}

/**
 * Bytes of a base64 text without white space, in the one spelling that they have: padded, spare bits zero.
 * @throws Fault `malformed` @see RFC 4648 §3.5
 */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.from(text, "base64");
  if (text === "" || bytes.toString("base64") !== text) throw new Fault("malformed", "the base64 is not canonical");
  return new Uint8Array(bytes);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
