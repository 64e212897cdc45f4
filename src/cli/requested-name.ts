import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { InvalidArgumentError } from "commander";
import { canonicalDnsName, canonicalIpAddress, canonicalUri, type GeneralName } from "../pki/general-name.ts";

/**
 * The name that a person typed, by its form: an IP address, a URI (`scheme://` or `urn:`), or else a DNS name. An
 * internationalised DNS name becomes its A-labels (RFC 5890 §2.3.2.1), as it has to stand in a certificate.
 * @throws InvalidArgumentError when it is none of them.
 */
export function requestedName(text: string): GeneralName {
  const address = canonicalIpAddress(text);
  if (address !== undefined) return { type: "ip", value: address };
  // A scheme alone is not enough: localhost:8443 is a name with a port by mistake, no URI of scheme localhost.
  if (/^([a-z][a-z0-9+.-]*:\/\/|urn:)/i.test(text)) {
    const uri = canonicalUri(text);
    if (typeof uri !== "string") throw new InvalidArgumentError(`This URI ${uri.detail}.`);
    return { type: "uri", value: uri };
  }
  const wildcard = text.startsWith("*.") ? "*." : "";
  const name = canonicalDnsName(wildcard + domainToASCII(text.slice(wildcard.length)));
  // domainToASCII also reads 0x7f.1 and 2130706433 as addresses; what someone typed as a name never silently becomes one.
  if (name === undefined || isIP(name) !== 0) throw new InvalidArgumentError("It is neither a DNS name nor an IP address nor a URI.");
  return { type: "dns", value: name };
}

/** A file name for the certificate of `name`: `*.example.org` gives `_.example.org`, and nothing leaves the directory or hides in it. */
export function fileNameOf(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9.-]/g, "_").replace(/^[.-]/, "_");
  return safe.slice(0, 200);
}
