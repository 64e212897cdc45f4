/** Names of a certificate on one line. DNS names stand bare; the others say what they are only where the form leaves it open. */
export function namesText(names: readonly { readonly type: string; readonly value: string }[]): string {
  return names.map(({ value }) => value).join(", ");
}

/** A serial as the service writes it, 32 lower-case hex digits; undefined for what is none. Colons are taken. */
export function serialOf(text: string): string | undefined {
  const hex = text.replaceAll(":", "").toLowerCase();
  return /^[0-9a-f]{32}$/.test(hex) ? hex : undefined;
}

/** Hex octets in pairs, as other tools show a fingerprint. */
export function fingerprintText(hex: string): string {
  return hex.toUpperCase().replace(/(..)(?=.)/g, "$1:");
}
