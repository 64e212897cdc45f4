// The decorators in @peculiar/x509 need it loaded before them.
// oxlint-disable-next-line import/no-unassigned-import
import "reflect-metadata";
import { createHash, generateKeyPairSync, type KeyObject, sign, webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import type { TestService } from "./service.ts";

/** A key that signs JWS, with the name of its algorithm. */
export type SigningKey = { readonly alg: string; readonly privateKey: KeyObject; readonly jwk: Readonly<Record<string, unknown>> };

/** A new key for an algorithm: ES256 unless said. */
export function signingKey(alg: "ES256" | "ES384" | "ES512" | "RS256" | "EdDSA" | "Ed25519" = "ES256", bits = 2048): SigningKey {
  const { privateKey, publicKey } = keyPair(alg, bits);
  return { alg, privateKey, jwk: publicKey.export({ format: "jwk" }) };
}

function keyPair(alg: string, bits: number): { privateKey: KeyObject; publicKey: KeyObject } {
  if (alg === "RS256") return generateKeyPairSync("rsa", { modulusLength: bits });
  if (alg === "EdDSA" || alg === "Ed25519") return generateKeyPairSync("ed25519");
  return generateKeyPairSync("ec", { namedCurve: { ES384: "P-384", ES512: "P-521" }[alg] ?? "P-256" });
}

/** base64url of octets, text, or a value as JSON. */
export function encoded(value: Uint8Array | string | object): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64url");
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
}

/** A JWS in the flattened JSON serialization. `payload` "" is that of POST-as-GET. */
export function signed(key: SigningKey, header: object, payload: object | string | Uint8Array): Record<string, unknown> {
  const parts = { protected: encoded(header), payload: encoded(payload) };
  const data = Buffer.from(`${parts.protected}.${parts.payload}`);
  const hash = { ES384: "sha384", ES512: "sha512", EdDSA: null, Ed25519: null }[key.alg];
  const signature = sign(hash === undefined ? "sha256" : hash, data, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return { ...parts, signature: encoded(signature) };
}

/** RFC 7638 thumbprint. */
export function thumbprint({ jwk }: SigningKey): string {
  const members = { EC: ["crv", "kty", "x", "y"], RSA: ["e", "kty", "n"], OKP: ["crv", "kty", "x"] }[String(jwk["kty"])] ?? [];
  const canonical = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])));
  return createHash("sha256").update(canonical).digest("base64url");
}

/** What came back. */
export type AcmeAnswer = {
  readonly status: number;
  /** A header's values, each line by itself. */
  readonly lines: (name: string) => readonly string[];
  readonly header: (name: string) => string | undefined;
  readonly text: string;
  readonly bytes: Buffer;
  readonly json: Readonly<Record<string, unknown>>;
  /** Last part of the problem's type; undefined where there is none. */
  readonly problem: string | undefined;
  readonly detail: string;
};

/** What a request can have otherwise than it should. */
export type Otherwise = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Members of the protected header; undefined takes one away. */
  readonly protected?: Readonly<Record<string, unknown>>;
  readonly key?: SigningKey;
  /** The protected header as text. */
  readonly header?: string;
  /** Changes the JWS once it is signed. */
  readonly jws?: (jws: Record<string, unknown>) => unknown;
  /** The whole body. */
  readonly body?: string | Uint8Array;
};

/** A client of one directory, with one key and, once registered, one account. */
export type AcmeClient = {
  readonly key: SigningKey;
  /** URL of the account; "" before `register`. */
  readonly account: () => string;
  /** The URL of a resource of the directory. */
  readonly url: (path: string) => string;
  /** Asks without a signature. */
  readonly ask: (url: string, otherwise?: Otherwise) => Promise<AcmeAnswer>;
  /** Posts a JWS by `kid`, or by `jwk` before there is an account. */
  readonly post: (url: string, payload: object | string, otherwise?: Otherwise) => Promise<AcmeAnswer>;
  readonly nonce: () => Promise<string>;
  /** Has the account that the key gets. */
  readonly register: (payload?: object) => Promise<AcmeAnswer>;
  readonly order: (names: readonly string[], more?: object) => Promise<AcmeAnswer>;
  /** Responds to a challenge of every authorization of the order, and waits until the order is no longer pending. */
  readonly prove: (order: AcmeAnswer, type?: string) => Promise<AcmeAnswer>;
  readonly finalize: (order: AcmeAnswer, csr: string) => Promise<AcmeAnswer>;
  /** Order, proof, finalize, certificate: the chain in PEM. */
  readonly issue: (names: readonly string[], more?: object) => Promise<{ readonly order: AcmeAnswer; readonly chain: string }>;
};

/** A client of `service`. Whatever host a URL names, it asks the service's own listener. */
export async function acmeClient(
  { service, ground }: Pick<TestService, "service" | "ground">,
  { directory = "default", key = signingKey() }: { readonly directory?: string; readonly key?: SigningKey } = {},
): Promise<AcmeClient> {
  const ca = await readFile(join(ground.directory, "root.pem"), "utf8");
  const root = `${service.config.baseUrl}/acme/${directory}`;
  let account = "";

  const ask: AcmeClient["ask"] = (url, { method = "GET", headers = {}, body } = {}) =>
    new Promise((resolve, reject) => {
      const { pathname, search } = new URL(url);
      const target = url.startsWith(service.config.baseUrl) ? url.slice(service.config.baseUrl.length) : `${pathname}${search}`;
      const outgoing = request({
        host: "127.0.0.1",
        port: service.listeners.tls.port,
        servername: "localhost",
        ca,
        path: target,
        method,
        headers: { ...(body !== undefined && { "content-length": String(Buffer.byteLength(body)) }), ...headers },
      });
      outgoing.on("error", reject);
      outgoing.on("response", (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => resolve(answer(incoming.statusCode ?? 0, incoming.rawHeaders, Buffer.concat(chunks))));
      });
      outgoing.end(body);
    });

  const nonce = async () => (await ask(`${root}/new-nonce`, { method: "HEAD" })).header("replay-nonce") ?? "";

  const post: AcmeClient["post"] = async (url, payload, otherwise = {}) => {
    const by = otherwise.key ?? key;
    const who = account === "" ? { jwk: by.jwk } : { kid: account };
    const header = { alg: by.alg, nonce: await nonce(), url, ...who, ...otherwise.protected };
    const jws = signed(by, otherwise.header === undefined ? header : Buffer.from(otherwise.header), payload);
    const body = otherwise.body ?? JSON.stringify(otherwise.jws ? otherwise.jws(jws) : jws);
    return await ask(url, {
      method: otherwise.method ?? "POST",
      body,
      headers: { "content-type": "application/jose+json", ...otherwise.headers },
    });
  };

  const client: AcmeClient = {
    key,
    account: () => account,
    url: (path) => `${root}/${path}`,
    ask,
    post,
    nonce,
    register: async (payload = {}) => {
      const registered = await post(`${root}/new-account`, payload, { protected: { jwk: key.jwk, kid: undefined } });
      account = registered.header("location") ?? account;
      return registered;
    },
    order: (names, more = {}) => post(`${root}/new-order`, { identifiers: names.map(identifier), ...more }),
    prove: async (order, type) => {
      for (const url of texts(order.json["authorizations"])) {
        const authorization = await post(url, "");
        const challenges = authorization.json["challenges"] as { type: string; url: string }[];
        const challenge = challenges.find((one) => type === undefined || one.type === type);
        if (authorization.json["status"] === "pending" && challenge) await post(challenge.url, {});
      }
      return await settled(() => post(order.header("location") ?? "", ""), "pending");
    },
    finalize: (order, csr) => post(String(order.json["finalize"]), { csr }),
    issue: async (names, more) => {
      const order = await client.order(names, more);
      const proven = await client.prove(order);
      await client.finalize(proven, await certificateRequest(names));
      const done = await settled(() => post(order.header("location") ?? "", ""), "processing");
      const certificate = await post(String(done.json["certificate"]), "");
      return { order: done, chain: certificate.text };
    },
  };
  return client;
}

/** Asks until the object is in another state than `state`: what is under way inside ends by itself, or the test's own time does. */
async function settled(read: () => Promise<AcmeAnswer>, state: string): Promise<AcmeAnswer> {
  let found = await read();
  while (found.json["status"] === state) {
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
    found = await read();
  }
  return found;
}

function identifier(value: string): { type: "dns" | "ip"; value: string } {
  return { type: /^[\d.]+$|:/.test(value) ? "ip" : "dns", value };
}

/** The texts of an array. */
export function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

/** An answer from what came over the wire: its status, the header lines as names and values in turn, and its body. */
export function answer(status: number, raw: readonly string[], bytes: Buffer): AcmeAnswer {
  const lines = (name: string) => raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name);
  const text = bytes.toString("utf8");
  const json = text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : {};
  const type = typeof json["type"] === "string" ? json["type"] : undefined;
  return {
    status,
    lines,
    header: (name) => lines(name)[0],
    text,
    bytes,
    json,
    problem: lines("content-type")[0] === "application/problem+json" ? type?.replace("urn:ietf:params:acme:error:", "") : undefined,
    detail: String(json["detail"] ?? ""),
  };
}

/** What a PKCS#10 request is made of. */
export type RequestParts = {
  readonly commonName?: string;
  readonly keys?: webcrypto.CryptoKeyPair;
  readonly extensions?: readonly x509.Extension[];
  /** SHA-256 unless said. */
  readonly hash?: "SHA-1" | "SHA-256";
};

/** The extension basicConstraints with CA:TRUE (RFC 5280 §4.2.1.9). */
export function authorityExtension(): x509.Extension {
  return new x509.BasicConstraintsExtension(true);
}

/** The extension extKeyUsage with these object identifiers (RFC 5280 §4.2.1.12). */
export function usageExtension(...usages: readonly string[]): x509.Extension {
  return new x509.ExtendedKeyUsageExtension([...usages]);
}

/** A new key pair for a certificate: P-256. */
export async function certificateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
}

/** A PKCS#10 request for names and addresses, DER in base64url. */
export async function certificateRequest(names: readonly string[], parts: RequestParts = {}): Promise<string> {
  const keys = parts.keys ?? (await certificateKeys());
  const san = names.map((name) => new x509.GeneralName(identifier(name).type, name));
  const made = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      keys,
      signingAlgorithm: { name: keys.privateKey.algorithm.name, hash: parts.hash ?? "SHA-256" },
      ...(parts.commonName !== undefined && { name: `CN=${parts.commonName}` }),
      extensions: [...(san.length > 0 ? [new x509.SubjectAlternativeNameExtension(san)] : []), ...(parts.extensions ?? [])],
    },
    webcrypto,
  );
  return encoded(new Uint8Array(made.rawData));
}
