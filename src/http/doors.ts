import type { Account } from "../acme/account.ts";
import type { Acme } from "../acme/acme.ts";
import type { ExaminedOrder } from "../acme/examine-order.ts";
import type { ExternalAccountKeyRequest } from "../acme/external-account.ts";
import type { ExternalAccountKeyRecord } from "../acme/external-account-store.ts";
import type { Order } from "../acme/order.ts";
import type { RecordDenial } from "../access/denials.ts";
import type { Action, Principal } from "../access/principal.ts";
import type { TokenRecord } from "../access/store.ts";
import type { Grant } from "../access/token.ts";
import type { Authority } from "../ca/authority.ts";
import type { CertificateQuery, IssuedCertificate } from "../ca/certificates.ts";
import type { HaltRequest } from "../ca/halt.ts";
import type { Halt } from "../ca/halt-store.ts";
import type { Issued, IssueRequest } from "../ca/issue.ts";
import type { MassRevocationAsked, Preview, StopRequest } from "../ca/mass-revocation.ts";
import type { Campaign } from "../ca/mass-revocation-store.ts";
import type { RevocationAsked } from "../ca/request-revocation.ts";
import type { ServedCrl } from "../ca/served-crl.ts";
import type { OcspAnswer } from "../ca/kept-answer.ts";
import type { Profile } from "../pki/profile.ts";
import type { Clock } from "../ports/clock.ts";
import type { Events } from "../ports/events.ts";
import type { Random } from "../ports/random.ts";
import type { RejectsNonce } from "./acme/reject-nonces.ts";

/**
 * The world behind the doors, as plain functions: everything they ask the domain for, and nothing else. `app.ts` binds each to its part.
 * What goes wrong is a Fault; anything else that is thrown becomes the door's internal error.
 */
export type Doors = RestDoors & AcmeDoors & StatusDoors & OpsDoors;

/** What the REST door asks. */
export type RestDoors = {
  /** How clients reach the TLS listener: the `type` of problem documents begins with it. No trailing slash. */
  readonly baseUrl: string;
  readonly random: Random;
  readonly events: Events;

  /** Whose token stands in an Authorization header. @throws Fault `unauthenticated`. */
  readonly authenticate: (authorization: string | undefined) => Promise<Principal>;
  /** Whether the principal may do this to something in `resource.namespace`. */
  readonly may: (principal: Principal, action: Action, resource: { readonly namespace: string }) => boolean;

  /** Issues, or gives what the same key and request gave before; durable on return. */
  readonly issue: (request: IssueRequest) => Promise<Issued>;
  /** The certificate of this serial (32 lower-case hex digits), if it lies in `namespace` or within it. */
  readonly readCertificate: (namespace: string, serial: string) => Promise<IssuedCertificate | undefined>;
  /** Certificates of `namespace` and within it, newest first. @throws Fault `malformed` for a cursor that is not ours. */
  readonly listCertificates: (
    namespace: string,
    query: CertificateQuery,
  ) => Promise<{ readonly certificates: readonly IssuedCertificate[]; readonly nextCursor?: string }>;
  /**
   * Revokes the certificate of a serial that lies in the principal's namespace or within it, and gives it as it is then; durable on return.
   * @throws Fault `notFound`, `policyDenied`, `badRevocationReason`, `alreadyRevoked`, `certificateExpired`, `badCSR`, `idempotencyMismatch`.
   */
  readonly revokeCertificate: (principal: Principal, request: RevocationAsked) => Promise<IssuedCertificate>;
  /** What such a revocation would revoke now. @throws Fault `malformed`, `badRevocationReason`. */
  readonly previewRevocation: (principal: Principal, request: MassRevocationAsked) => Promise<Preview>;
  /**
   * Begins to revoke what a filter finds in the principal's namespace and within it; durable on return, and perhaps at its end. `begun` false: the
   * same was asked before. @throws Fault `malformed`, `badRevocationReason`, `idempotencyMismatch`.
   */
  readonly beginRevocation: (
    principal: Principal,
    request: MassRevocationAsked,
  ) => Promise<{ readonly campaign: Campaign; readonly begun: boolean }>;
  /** A revocation that was begun in `namespace` or within it. */
  readonly readRevocation: (namespace: string, id: string) => Promise<Campaign | undefined>;
  /** Ends such a revocation before it is through. @throws Fault `policyDenied`, `unauthenticated`. */
  readonly stopRevocation: (request: StopRequest) => Promise<Campaign | undefined>;
  /** Halts issuance and gives the halt that stands. @throws Fault `policyDenied`. */
  readonly haltIssuance: (request: HaltRequest) => Promise<Halt>;
  /** Lets issuance go on, whether it was halted or not. @throws Fault `policyDenied`. */
  readonly resumeIssuance: (request: HaltRequest) => Promise<void>;
  /** The halt that stands. @throws Fault `policyDenied`. */
  readonly showHalt: (principal: Principal) => Promise<Halt | undefined>;
  /** Every profile, those that only the service itself may use among them. */
  readonly profiles: () => readonly Profile[];
  /** The authorities as they stand in memory. */
  readonly authorities: () => readonly Authority[];
  /** The CRL that is served under a path below `/crl/`, which is given without its suffix; undefined where there is none. */
  readonly crl: (path: string) => ServedCrl | undefined;

  /** @throws Fault `policyDenied` when it would grant more than `principal` has. */
  readonly createToken: (principal: Principal, request: Grant, requestId: string) => Promise<CreatedToken>;
  /** Tokens of the principal's namespace and within it, newest first. @throws Fault `malformed` for a cursor that is not ours. */
  readonly listTokens: (
    principal: Principal,
    page: Page,
  ) => Promise<{ readonly tokens: readonly TokenRecord[]; readonly nextCursor?: string }>;
  /** @throws Fault `notFound` when there is no such token that `principal` may see. */
  readonly revokeToken: (principal: Principal, id: string, requestId: string) => Promise<void>;
  /** The MAC key is in this answer alone. @throws Fault `malformed`, or `policyDenied` outside of the principal's namespace. */
  readonly createExternalAccountKey: (
    principal: Principal,
    request: ExternalAccountKeyRequest,
    requestId: string,
  ) => Promise<ExternalAccountKeyRecord & { readonly macKey: string }>;
  /** Keys of the principal's namespace and within it, newest first. @throws Fault `malformed` for a cursor that is not ours. */
  readonly listExternalAccountKeys: (
    principal: Principal,
    page: Page,
  ) => Promise<{ readonly keys: readonly ExternalAccountKeyRecord[]; readonly nextCursor?: string }>;
  /** @throws Fault `notFound` when there is no such key that `principal` may see. */
  readonly revokeExternalAccountKey: (principal: Principal, id: string, requestId: string) => Promise<void>;
  /** ACME accounts of `namespace` and within it, newest first. @throws Fault `malformed` for a cursor that is not ours. */
  readonly listAcmeAccounts: (
    namespace: string,
    page: Page,
  ) => Promise<{ readonly accounts: readonly Account[]; readonly nextCursor?: string }>;
  readonly readAcmeAccount: (namespace: string, id: string) => Promise<Account | undefined>;
  /** The account as it is then, ended. @throws Fault `notFound` when there is none that `principal` may see. */
  readonly revokeAcmeAccount: (
    principal: Principal,
    request: { readonly id: string; readonly reason: string; readonly requestId: string },
  ) => Promise<Account>;
  /** Orders of such accounts, newest first. @throws Fault `malformed` for a cursor that is not ours. */
  readonly listAcmeOrders: (
    namespace: string,
    query: Page & { readonly account?: string | undefined },
  ) => Promise<{ readonly orders: readonly Order[]; readonly nextCursor?: string }>;
  readonly readAcmeOrder: (namespace: string, id: string) => Promise<ExaminedOrder | undefined>;
  /** Leaves an audit record of what a principal was refused, but not of every repetition. */
  readonly recordDenial: RecordDenial;
};

/** Which part of a list: `cursor` is the `nextCursor` of the page before. */
type Page = { readonly limit: number; readonly cursor?: string | undefined };

/** What the ACME door asks: its use cases take `acme` as it is. */
export type AcmeDoors = Pick<RestDoors, "events"> & {
  readonly acme: Acme;
  /** For test suites of clients; in production it refuses none. */
  readonly rejectsNonce: RejectsNonce;
};

/** What the status listener needs: from memory wherever it can be, so that it answers while database and HSM are away. */
export type StatusDoors = Pick<RestDoors, "authorities" | "crl" | "events"> & {
  readonly clock: Clock;
  /**
   * The answer to an OCSPRequest at the responder of an authority, which is one of `authorities`. Of one `client`, an address, so many
   * requests are answered alone: more get what everybody gets, or Fault `busy`.
   * @throws Fault `malformed` when it is none; `hsmUnavailable`, `databaseUnavailable` or `busy` when there is no answer to be had now.
   */
  readonly ocsp: (slug: string, request: Uint8Array, client: string) => Promise<OcspAnswer>;
};

/** What the ops listener needs. */
export type OpsDoors = {
  /** Which process this is: what stands in the lock of its data directory. Names no path. */
  readonly instance: string;
  /** What must hold for certificates to be issued. */
  readonly issueChecks: readonly Check[];
  /** What must hold for a revocation to be durable; CRLs and OCSP tell of it as soon as they can be signed. */
  readonly revokeChecks: readonly Check[];
  /** What must hold for the status listener to answer. */
  readonly statusChecks: readonly Check[];
  /** The metrics in Prometheus' text format. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
};

/** One condition of readiness. */
export type Check = {
  readonly name: "database" | "hsm" | "clock" | "halt" | "issuers" | "migrations" | "authorities" | "crls" | "responders";
  /** The listener itself stops waiting after 2 s. */
  readonly run: () => Promise<Verdict> | Verdict;
};

/** `detail` is a sentence for the operator; it names no secret. */
export type Verdict = { readonly ready: boolean; readonly detail: string };

/** A token just created: `token` is its whole text, shown this once. */
export type CreatedToken = TokenRecord & { readonly token: string };
