/** Every URL of one directory. Built from the configured base URL alone, whatever a request says of its host: account URLs are identities. */
export type Urls = {
  readonly directory: string;
  readonly newNonce: string;
  readonly newAccount: string;
  readonly newOrder: string;
  readonly revokeCert: string;
  readonly keyChange: string;
  /** Without a final slash: a certID goes behind one (RFC 9773 §4.1). */
  readonly renewalInfo: string;
  readonly account: (id: string) => string;
  readonly orders: (accountId: string, after?: string) => string;
  readonly order: (id: string) => string;
  readonly finalize: (orderId: string) => string;
  readonly authorization: (id: string) => string;
  readonly challenge: (id: string) => string;
  readonly certificate: (orderId: string) => string;
};

/** The URLs of the directory of this name. `baseUrl` has no trailing slash. @see RFC 8555 §7.1 */
export function urlsOf(baseUrl: string, directory: string): Urls {
  const root = `${baseUrl}/acme/${directory}`;
  return {
    directory: `${root}/directory`,
    newNonce: `${root}/new-nonce`,
    newAccount: `${root}/new-account`,
    newOrder: `${root}/new-order`,
    revokeCert: `${root}/revoke-cert`,
    keyChange: `${root}/key-change`,
    renewalInfo: `${root}/renewal-info`,
    account: (id) => `${root}/acct/${id}`,
    orders: (accountId, after) => `${root}/acct/${accountId}/orders${after === undefined ? "" : `?after=${after}`}`,
    order: (id) => `${root}/order/${id}`,
    finalize: (orderId) => `${root}/order/${orderId}/finalize`,
    authorization: (id) => `${root}/authz/${id}`,
    challenge: (id) => `${root}/chall/${id}`,
    certificate: (orderId) => `${root}/cert/${orderId}`,
  };
}
