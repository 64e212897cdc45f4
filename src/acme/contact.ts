import { Fault } from "../fault.ts";
import type { Json } from "../jose/json.ts";
import { canonicalDnsName } from "../pki/general-name.ts";

const maxContacts = 10;

/**
 * The contacts of a newAccount or update: `mailto:` URLs of one plain address each (RFC 8555 §7.3, RFC 6068).
 * @throws Fault `malformed` for no array of strings and for more than ten; `unsupportedContact` for another scheme; `invalidContact` for an
 *   address that is none.
 */
export function parseContacts(value: Json): readonly string[] {
  if (!Array.isArray(value)) throw new Fault("malformed", "contact must be an array of URLs");
  if (value.length > maxContacts) throw new Fault("malformed", `contact has ${value.length} URLs; the most is ${maxContacts}`);
  return value.map((url) => {
    if (typeof url !== "string") throw new Fault("malformed", "contact must be an array of URLs");
    return parseContact(url);
  });
}

function parseContact(url: string): string {
  if (!/^mailto:/i.test(url)) throw new Fault("unsupportedContact", "a contact is no mailto: URL, which alone are taken");
  const address = url.slice("mailto:".length);
  if (address.length > 254 || !/^[\x21-\x7e]+$/.test(address)) {
    throw new Fault("invalidContact", "a contact must be one address of at most 254 visible ASCII characters");
  }
  if (/[?#]/.test(address)) throw new Fault("invalidContact", "a contact must not have header fields or a fragment");
  const [, local, domain] = /^([^@,;<>"()[\]\\]{1,64})@([^@]+)$/.exec(address) ?? [];
  if (local === undefined || domain === undefined || canonicalDnsName(domain)?.startsWith("*.") !== false) {
    throw new Fault("invalidContact", "a contact must be one e-mail address, as mailto:admin@example.org");
  }
  return `mailto:${address}`;
}
