import { type IssuedCertificate, readCertificate } from "../ca/certificates.ts";
import type { Account } from "./account.ts";
import type { Acme } from "./acme.ts";
import { readOrder } from "./read-order.ts";

/** The certificate that the account's order of this id ended with; undefined while there is none, and for another account's order. */
export async function certificateOfOrder(acme: Acme, account: Account, orderId: string): Promise<IssuedCertificate | undefined> {
  const { certificate } = (await readOrder(acme, account, orderId)) ?? {};
  const found = certificate && (await readCertificate(acme.ca, account.namespace, certificate.serial));
  return found?.authority === certificate?.authority ? found : undefined;
}
