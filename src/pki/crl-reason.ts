/** CRLReasons that a certificate is revoked with here, by their RFC 5280 names. Not among them: holds, which end again, and those of CAs and attributes. */
export type ReasonName =
  "unspecified" | "keyCompromise" | "affiliationChanged" | "superseded" | "cessationOfOperation" | "privilegeWithdrawn";

/** @see RFC 5280 §5.3.1 */
export const reasonCodes: Readonly<Record<ReasonName, number>> = {
  unspecified: 0,
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
};

/** Every reason by its name, in the order of the codes. */
export const reasonNames: readonly ReasonName[] = Object.keys(reasonCodes).filter(isReasonName);

/** Whether `text` is the name of a reason, in the RFC's spelling. */
export function isReasonName(text: string): text is ReasonName {
  return Object.hasOwn(reasonCodes, text);
}

/** The name of a recorded CRLReason; undefined for one that nothing is revoked with. */
export function reasonName(code: number): ReasonName | undefined {
  return reasonNames.find((name) => reasonCodes[name] === code);
}
