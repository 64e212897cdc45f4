/** Names of a certificate on one line. DNS names stand bare; the others say what they are only where the form leaves it open. */
export function namesText(names: readonly { readonly type: string; readonly value: string }[]): string {
  return names.map(({ value }) => value).join(", ");
}

/** Hex octets in pairs, as other tools show a fingerprint. */
export function fingerprintText(hex: string): string {
  return hex.toUpperCase().replace(/(..)(?=.)/g, "$1:");
}
