import { listAcmeAccountsRoute, readAcmeAccountRoute, revokeAcmeAccountRoute } from "./acme-accounts.ts";
import { listAcmeOrdersRoute, readAcmeOrderRoute } from "./acme-orders.ts";
import { authoritiesRoute } from "./authorities.ts";
import { issueRoute, listRoute, readRoute, revokeRoute } from "./certificates.ts";
import { createExternalAccountKeyRoute, listExternalAccountKeysRoute, revokeExternalAccountKeyRoute } from "./external-account-keys.ts";
import { haltRoute, readHaltRoute, resumeRoute } from "./halt.ts";
import { problemRoute } from "./problems.ts";
import { profilesRoute } from "./profiles.ts";
import { createRevocationRoute, readRevocationRoute, stopRevocationRoute } from "./revocations.ts";
import type { Route } from "./route.ts";
import { createTokenRoute, listTokensRoute, revokeTokenRoute } from "./tokens.ts";

/** Everything that this door serves. What is not here is not mounted (S-15, S-41). */
export const routes: readonly Route[] = [
  issueRoute,
  readRoute,
  revokeRoute,
  listRoute,
  createRevocationRoute,
  readRevocationRoute,
  stopRevocationRoute,
  haltRoute,
  resumeRoute,
  readHaltRoute,
  authoritiesRoute,
  profilesRoute,
  createTokenRoute,
  listTokensRoute,
  revokeTokenRoute,
  createExternalAccountKeyRoute,
  listExternalAccountKeysRoute,
  revokeExternalAccountKeyRoute,
  listAcmeAccountsRoute,
  readAcmeAccountRoute,
  revokeAcmeAccountRoute,
  listAcmeOrdersRoute,
  readAcmeOrderRoute,
  problemRoute,
];
