import { setTimeout as wait } from "node:timers/promises";
import type { Account } from "../../src/acme/account.ts";
import { type Acme, openAcme } from "../../src/acme/acme.ts";
import type { Directory } from "../../src/acme/directory.ts";
import { finalize } from "../../src/acme/finalize.ts";
import { newAccount, type NewAccountRequest } from "../../src/acme/new-account.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import type { Order } from "../../src/acme/order.ts";
import { readAuthorization } from "../../src/acme/read-authorization.ts";
import { readOrder } from "../../src/acme/read-order.ts";
import { respond } from "../../src/acme/respond.ts";
import type { Principal } from "../../src/access/principal.ts";
import { readStoredCertificate, type StoredCertificate } from "../../src/ca/certificates.ts";
import { openDatabase } from "../../src/database/connect.ts";
import { isJsonObject, type JsonObject, readJson } from "../../src/jose/json.ts";
import { type AccountKey, parseJwk } from "../../src/jose/jwk.ts";
import { recordedEvents } from "../support/events.ts";
import { certificateRequest, type RequestParts, signed, type SigningKey, signingKey } from "../support/acme-client.ts";
import { standingGround, startService, type TestService } from "../support/service.ts";

/** The domain of ACME over a running service, and a second instance of it on the same database. Every challenge is found valid. */
export type AccountWorld = AsyncDisposable & {
  readonly chancery: TestService;
  readonly acme: Acme;
  readonly second: Acme;
  /** Directories by what is particular to them. */
  readonly directories: Readonly<Record<"open" | "bound" | "terms" | "limited", Directory>>;
};

/** Starts a service with directories of every kind. */
export async function accountWorld(): Promise<AccountWorld> {
  await using stack = new AsyncDisposableStack();
  const ground = stack.use(await standingGround({ CHANCERY_TEST_ALWAYS_VALID: "true" }));
  const chancery = stack.use(await startService({}, ground));
  const standard = chancery.service.acme.directories.get("default");
  if (!standard) throw new Error("there is no directory");
  const directories = {
    open: standard,
    bound: { ...standard, name: "bound", externalAccountRequired: true },
    terms: { ...standard, name: "terms", termsOfService: "https://ca.example/terms/1", renewedConsent: true },
    limited: { ...standard, name: "limited", limits: { newAccountsPerAddress: { count: 3, seconds: 3_600 } } },
  } as const;
  const byName = new Map(Object.values(directories).map((directory) => [directory.name, directory]));
  const acme: Acme = { ...chancery.service.acme, directories: byName };
  const database = stack.use(await openDatabase({ url: ground.databaseUrl }, { events: recordedEvents() }));
  const second = await openAcme({ ...acme, database, ca: { ...acme.ca, database }, node: "second" });
  const held = stack.move();
  return { chancery, acme, second, directories, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** URL of newAccount in these tests. */
export const newAccountUrl = "https://ca.example/acme/new-account";
/** An administrator of everything. */
export const administrator: Principal = { id: "token:test", namespace: "/", role: "admin" };

/** The key as the door hands it on. */
export function accountKey({ jwk }: Pick<SigningKey, "jwk">): AccountKey {
  return parseJwk(json(jwk));
}

/** A value as it comes out of a request. */
export function json(value: unknown): JsonObject {
  const read = readJson(Buffer.from(JSON.stringify(value)));
  if (!isJsonObject(read)) throw new Error("not an object");
  return read;
}

/** An account request with this key: what is not given is as a good client has it. */
export async function asked(
  acme: Acme,
  directory: Directory,
  key: SigningKey,
  { payload = {}, ...more }: { readonly payload?: object } & Partial<Omit<NewAccountRequest, "payload" | "key">> = {},
): Promise<{ readonly account: Account; readonly created: boolean }> {
  const parsed = accountKey(key);
  const { account: standing } = await acme.recognise({
    nonce: undefined,
    account: { directory: directory.name, thumbprint: parsed.thumbprint },
  });
  const request = {
    key: parsed,
    standing,
    payload: json(payload),
    url: newAccountUrl,
    address: "192.0.2.1",
    requestId: "request-1",
    ...more,
  };
  return await newAccount(acme, directory, request);
}

/** A new account with a key of its own. */
export async function registered(acme: Acme, directory: Directory, key = signingKey()): Promise<{ account: Account; key: SigningKey }> {
  const { account } = await asked(acme, directory, key, { payload: { termsOfServiceAgreed: true } });
  return { account, key };
}

/** The inner JWS of a keyChange, as a good client has it but for what is given. */
export function keyChange(
  { account, key }: { readonly account: Account; readonly key: SigningKey },
  next: SigningKey,
  { header = {}, payload = {} }: { readonly header?: object; readonly payload?: object } = {},
): JsonObject {
  return json(
    signed(
      next,
      { alg: next.alg, jwk: next.jwk, url: keyChangeUrl, ...header },
      { account: accountUrl(account), oldKey: key.jwk, ...payload },
    ),
  );
}

/** URLs of a keyChange in these tests. */
export const keyChangeUrl = "https://ca.example/acme/key-change";
export const accountUrl = ({ id }: Pick<Account, "id">): string => `https://ca.example/acme/acct/${id}`;

/** An order for these names, its authorizations valid. */
export async function provenOrder(
  acme: Acme,
  directory: Directory,
  account: Account,
  names: readonly string[],
  more: object = {},
): Promise<Order> {
  const identifiers = names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? "ip" : "dns", value }));
  const { order } = await newOrder(acme, directory, account, json({ identifiers, ...more }));
  for (const id of order.authorizations) {
    const authorization = await readAuthorization(acme, account, id);
    const challenge = authorization?.challenges[0];
    if (authorization?.status === "pending" && challenge) await respond(acme, account, challenge.id);
  }
  return await until(acme, account, order, ({ status }) => status !== "pending");
}

/** The certificate of a new order for these names. */
export async function certified(
  acme: Acme,
  directory: Directory,
  account: Account,
  names: readonly string[],
  parts: RequestParts = {},
): Promise<StoredCertificate> {
  const order = await provenOrder(acme, directory, account, names);
  await finalize(acme, account, order.id, json({ csr: await certificateRequest(names, parts) }), "request-2");
  const { certificate } = await until(acme, account, order, ({ status }) => status !== "processing");
  const stored = certificate && (await readStoredCertificate(acme.ca, certificate.authority, Buffer.from(certificate.serial, "hex")));
  if (!stored) throw new Error("the order has no certificate");
  return stored;
}

async function until(acme: Acme, account: Account, { id }: Order, holds: (order: Order) => boolean): Promise<Order> {
  for (let tries = 0; tries < 500; tries++) {
    const order = await readOrder(acme, account, id);
    if (order && holds(order)) return order;
    await wait(10);
  }
  throw new Error("the order stays as it is");
}

/** What the audit log says of an operation, oldest first. */
export async function audited(
  acme: Acme,
  operation: string,
): Promise<
  readonly {
    readonly principal: string;
    readonly namespace: string;
    readonly requestId?: string;
    readonly object: Readonly<Record<string, unknown>>;
  }[]
> {
  const rows = await acme.database.read(
    (sql) => sql<{ entry: { principal: string; namespace: string; requestId?: string; object: Record<string, unknown> } }[]>`
      select convert_from(bytes, 'UTF8')::jsonb as entry from audit_record
      where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = ${operation} order by id`,
  );
  return rows.map(({ entry }) => entry);
}
