import { contains } from "./namespace.ts";
import { type Action, type Principal, type Role, roles } from "./principal.ts";

/** Whether the principal may do this to what lies in the resource's namespace. Whatever the table does not allow is denied. */
export function may(principal: Principal, action: Action, resource: { readonly namespace: string }): boolean {
  return allowed[principal.role][action] && contains(principal.namespace, resource.namespace);
}

/** Whether a principal may hand out this role in this namespace: nobody grants more than they have. */
export function mayGrant(principal: Principal, grant: { readonly role: Role; readonly namespace: string }): boolean {
  return may(principal, "token:create", grant) && roles.indexOf(grant.role) <= roles.indexOf(principal.role);
}

/** Complete by type: a new action does not compile before every role has an answer. */
const allowed: Readonly<Record<Role, Readonly<Record<Action, boolean>>>> = {
  viewer: {
    "certificate:issue": false,
    "certificate:read": true,
    "certificate:revoke": false,
    "revocation:create": false,
    "revocation:read": false,
    "revocation:stop": false,
    "issuance:halt": false,
    "key:block": false,
    "authority:read": true,
    "profile:read": true,
    "token:create": false,
    "token:read": false,
    "token:revoke": false,
    "external-account-key:create": false,
    "external-account-key:read": false,
    "external-account-key:revoke": false,
    "acme-account:read": true,
    "acme-account:revoke": false,
    "acme-order:read": true,
  },
  requester: {
    "certificate:issue": true,
    "certificate:read": true,
    "certificate:revoke": true,
    "revocation:create": false,
    "revocation:read": false,
    "revocation:stop": false,
    "issuance:halt": false,
    "key:block": false,
    "authority:read": true,
    "profile:read": true,
    "token:create": false,
    "token:read": false,
    "token:revoke": false,
    "external-account-key:create": false,
    "external-account-key:read": false,
    "external-account-key:revoke": false,
    "acme-account:read": true,
    "acme-account:revoke": false,
    "acme-order:read": true,
  },
  admin: {
    "certificate:issue": true,
    "certificate:read": true,
    "certificate:revoke": true,
    "revocation:create": true,
    "revocation:read": true,
    "revocation:stop": true,
    "issuance:halt": true,
    "key:block": true,
    "authority:read": true,
    "profile:read": true,
    "token:create": true,
    "token:read": true,
    "token:revoke": true,
    "external-account-key:create": true,
    "external-account-key:read": true,
    "external-account-key:revoke": true,
    "acme-account:read": true,
    "acme-account:revoke": true,
    "acme-order:read": true,
  },
};
