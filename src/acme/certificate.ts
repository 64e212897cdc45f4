import { type CertificateChain, readChainOfRequest } from "../ca/certificates.ts";
import { requestIdentity } from "../ca/issue.ts";
import { type Account, principalOf } from "./account.ts";
import type { Acme } from "./acme.ts";

/** The certificate that the account's order of this id ended with; undefined while there is none, and for another account's order. */
export async function certificateOfOrder({ ca }: Acme, account: Account, orderId: string): Promise<CertificateChain | undefined> {
  // The identity of an order's issuance is of its account: by another account's it finds nothing.
  return await readChainOfRequest(ca, requestIdentity({ door: "acme", principal: principalOf(account), key: orderId }));
}
