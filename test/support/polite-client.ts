// The decorators in @peculiar/x509 need it loaded before them.
// oxlint-disable-next-line import/no-unassigned-import
import "reflect-metadata";
import { X509Certificate } from "node:crypto";
import { type Agent, request } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import * as x509 from "@peculiar/x509";
import {
  type AcmeAnswer,
  answer,
  certificateKeys,
  certificateRequest,
  encoded,
  signed,
  type SigningKey,
  signingKey,
  texts,
  thumbprint,
} from "./acme-client.ts";
import type { ChallengeHost } from "./challenge-host.ts";

/** One instance, as clients reach it: whatever host a URL names, they ask this port. */
export type Door = {
  readonly baseUrl: string;
  readonly port: number;
  readonly agent: Agent;
  /** The root that its certificate chains to, PEM. */
  readonly ca: () => Promise<string>;
};

/** No client waits longer for one answer. */
const patienceMs = 10_000;

/** A connection that could not be made, or ended before the answer: what a client repeats. */
class Lost extends Error {}

/** One request, one answer. @throws Lost; another error when no answer came within ten seconds. */
export async function ask(
  door: Door,
  url: string,
  { method = "GET", body }: { readonly method?: "GET" | "HEAD" | "POST"; readonly body?: string } = {},
): Promise<AcmeAnswer> {
  const ca = await door.ca();
  return await new Promise((resolve, reject) => {
    const outgoing = request({
      host: "127.0.0.1",
      port: door.port,
      servername: "localhost",
      agent: door.agent,
      ca,
      path: url.slice(door.baseUrl.length),
      method,
      headers: body === undefined ? {} : { "content-type": "application/jose+json", "content-length": String(Buffer.byteLength(body)) },
    });
    const impatience = setTimeout(() => {
      reject(new Error(`no answer within ${patienceMs} ms: ${method} ${url}`));
      outgoing.destroy();
    }, patienceMs);
    const lost = (cause: unknown) => {
      clearTimeout(impatience);
      reject(new Lost("the connection was lost", { cause }));
    };
    outgoing.on("error", lost);
    outgoing.on("response", (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", lost);
      incoming.on("end", () => {
        clearTimeout(impatience);
        resolve(answer(incoming.statusCode ?? 0, incoming.rawHeaders, Buffer.concat(chunks)));
      });
    });
    outgoing.end(body);
  });
}

/** What a client saw of one request: its resource, and how it was answered. */
export type Seen = {
  readonly resource: string;
  /** 0: the connection was lost. */
  readonly status: number;
  readonly problem: string | undefined;
  readonly detail: string;
  /** Whether an answer to the same request may have been lost before. */
  readonly repeated: boolean;
};

/** What one issuance ended with. */
export type Ended = { readonly order: string; readonly serial: string; readonly chain: string };

/** A client that does what good clients do: it goes on to another instance, waits as it is told, and repeats what failed. */
export type PoliteClient = {
  readonly key: SigningKey;
  readonly account: () => string;
  readonly url: (path: string) => string;
  /** Everything it saw. */
  readonly seen: readonly Seen[];
  /** A JWS by the account, or by the key before there is one. */
  readonly sign: (url: string, payload: object | "", nonce: string) => string;
  readonly nonce: (door?: Door) => Promise<string>;
  /** One POST, whatever comes of it. */
  readonly once: (door: Door, url: string, payload: object | "") => Promise<AcmeAnswer>;
  /** A POST, repeated while it fails as things fail that pass. */
  readonly post: (url: string, payload: object | "") => Promise<AcmeAnswer>;
  readonly register: (payload?: object) => Promise<AcmeAnswer>;
  readonly order: (names: readonly string[], more?: object) => Promise<AcmeAnswer>;
  /** Meets every challenge of an order; the order once it is no longer pending. */
  readonly prove: (order: AcmeAnswer) => Promise<AcmeAnswer>;
  /** Finalizes an order that is ready; the order once it is over. */
  readonly finalize: (url: string, finalizeUrl: string, csr: string) => Promise<AcmeAnswer>;
  /** From order to certificate, which it verifies. @throws when the order ends otherwise. */
  readonly issue: (names: readonly string[]) => Promise<Ended>;
};

/** A client that goes to `doors` in turn, and has its challenges met by `host`. */
export function politeClient(
  doors: () => readonly Door[],
  {
    host,
    key = signingKey(),
    directory = "default",
  }: { readonly host: ChallengeHost; readonly key?: SigningKey; readonly directory?: string },
): PoliteClient {
  const seen: Seen[] = [];
  const nonces: string[] = [];
  let account = "";
  let turn = 0;
  const nextDoor = (): Door => {
    const open = doors();
    const door = open[turn++ % open.length];
    if (!door) throw new Error("there is no instance to go to");
    return door;
  };
  const url = (path: string) => `${nextDoor().baseUrl}/acme/${directory}/${path}`;
  const nonce = async (door = nextDoor()) => (await ask(door, url("new-nonce"), { method: "HEAD" })).header("replay-nonce") ?? "";
  const sign: PoliteClient["sign"] = (target, payload, fresh) => {
    const who = account === "" || target.endsWith("/new-account") ? { jwk: key.jwk } : { kid: account };
    return JSON.stringify(signed(key, { alg: key.alg, nonce: fresh, url: target, ...who }, payload));
  };
  const once: PoliteClient["once"] = async (door, target, payload) => {
    const body = sign(target, payload, nonces.pop() ?? (await nonce(door)));
    const got = await ask(door, target, { method: "POST", body });
    const next = got.header("replay-nonce");
    if (next !== undefined) nonces.push(next);
    return got;
  };

  const post: PoliteClient["post"] = async (target, payload) => {
    const resource = target.replace(/^.*\/acme\/[^/]+\//, "").replace(/[A-Za-z0-9_-]{22}/, "{id}");
    let badNonces = 0;
    for (let repeated = false; ; repeated = true) {
      let got: AcmeAnswer;
      try {
        got = await once(nextDoor(), target, payload);
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        seen.push({ resource, status: 0, problem: undefined, detail: String(error.cause), repeated });
        await pause(100);
        continue;
      }
      seen.push({ resource, status: got.status, problem: got.problem, detail: got.detail, repeated });
      if (got.status === 503) await pause(retryAfterMs(got));
      else if (got.problem === "badNonce" && badNonces === 0) badNonces += 1;
      else return got;
    }
  };

  /** Reads until it `holds`: soon at first, then as often as the answer says or once a second. */
  const until = async (target: string, holds: (got: AcmeAnswer) => boolean): Promise<AcmeAnswer> => {
    for (let waitMs = 25; ; waitMs *= 2) {
      const got = await post(target, "");
      if (got.status !== 200 || holds(got)) return got;
      await pause(Math.min(waitMs, retryAfterMs(got)));
    }
  };

  const client: PoliteClient = {
    key,
    account: () => account,
    url,
    seen,
    sign,
    nonce,
    once,
    post,
    register: async (payload = {}) => {
      const registered = await post(url("new-account"), payload);
      account = registered.header("location") ?? account;
      return registered;
    },
    order: (names, more = {}) => post(url("new-order"), { identifiers: names.map((value) => ({ type: "dns", value })), ...more }),
    prove: async (order) => {
      for (const authorizationUrl of texts(order.json["authorizations"])) {
        const authorization = await post(authorizationUrl, "");
        const challenges = authorization.json["challenges"] as { type: string; url: string; token: string }[];
        const challenge = challenges.find(({ type }) => type === "http-01");
        if (authorization.json["status"] !== "pending" || !challenge) continue;
        host.meet(challenge.token, thumbprint(key));
        await post(challenge.url, {});
        await until(authorizationUrl, ({ json }) => json["status"] !== "pending");
      }
      return await until(order.header("location") ?? "", ({ json }) => json["status"] !== "pending");
    },
    finalize: async (target, finalizeUrl, csr) => {
      const { problem } = await post(finalizeUrl, { csr });
      const read = await post(target, "");
      // cert-manager reads the order once after a refusal, and gives it up where that is not its end.
      if (problem === "orderNotReady" && read.json["status"] !== "valid")
        throw new Error(`refused while the order is ${String(read.json["status"])}`);
      return await until(target, ({ json }) => json["status"] !== "processing");
    },
    issue: async (names) => {
      const order = await client.order(names);
      const target = order.header("location") ?? "";
      const proven = await client.prove(order);
      if (proven.json["status"] !== "ready") throw new Error(`the order of ${names.join()} was not ready: ${proven.text}`);
      const keys = await certificateKeys();
      const csr = await certificateRequest(names, { keys });
      const done = await client.finalize(target, String(proven.json["finalize"]), csr);
      if (done.json["status"] !== "valid") throw new Error(`the order of ${names.join()} was not valid: ${done.text}`);
      const { text: chain } = await post(String(done.json["certificate"]), "");
      const spki = Buffer.from(await crypto.subtle.exportKey("spki", keys.publicKey));
      return { order: target, serial: verifiedSerial(chain, { root: await nextDoor().ca(), names, spki }), chain };
    },
  };
  return client;
}

/** What Retry-After says, a second where it is absent. @throws where a 503 has none: that is a client that does not know how to go on. */
function retryAfterMs(got: AcmeAnswer): number {
  const seconds = got.header("retry-after");
  if (got.status === 503 && !/^\d+$/.test(seconds ?? "")) throw new Error(`a 503 without a number of seconds: ${got.text}`);
  return Number(seconds ?? 1) * 1000;
}

/** The serial of a chain whose leaf is for these names and this key, and that leads to the root. @throws when anything of it is otherwise. */
function verifiedSerial(
  chain: string,
  { root, names, spki }: { readonly root: string; readonly names: readonly string[]; readonly spki: Buffer },
) {
  const path = [...(chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? []), root].map(
    (pem) => new X509Certificate(pem),
  );
  const [leaf] = path;
  const linked = path.every((each, index) => {
    const issuer = path[index + 1] ?? each;
    return each.checkIssued(issuer) && each.verify(issuer.publicKey);
  });
  const named =
    leaf?.subjectAltName ===
    names
      .toSorted()
      .map((name) => `DNS:${name}`)
      .join(", ");
  if (!leaf || !linked || path.length < 3 || !named) throw new Error(`a chain that does not verify for ${names.join()}: ${chain}`);
  if (!leaf.publicKey.export({ format: "der", type: "spki" }).equals(spki)) throw new Error("the certificate is for another key");
  return leaf.serialNumber.toLowerCase();
}

/** A certificate of a chain, as revokeCert takes it. */
export function leafOf(chain: string): string {
  return encoded(new X509Certificate(chain).raw);
}

/** certID of the certificate that a chain begins with. @see RFC 9773 §4.1 */
export function certificateId(chain: string): string {
  const leaf = new x509.X509Certificate(chain.slice(0, chain.indexOf("-----END CERTIFICATE-----") + 25));
  const keyId = leaf.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId ?? "";
  return `${Buffer.from(keyId, "hex").toString("base64url")}.${Buffer.from(leaf.serialNumber, "hex").toString("base64url")}`;
}
