import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../conformance/execute.ts";
import type { Service } from "../conformance/service.ts";
import { chancery } from "./chancery.ts";
import { get, opensslRequest, startBare, status, writeMessages } from "./ocsp.ts";
import { type Measurement, measureWindow, type Part } from "./window.ts";

/** A kept OCSP answer by GET, and the same octets by bare node:http: what else works on the machine slows both. */
export type KeptRate = { readonly kept: Measurement; readonly bare: Measurement };

/** The same before a revocation of many, and while it goes on. */
export type KeptRates = { readonly before: KeptRate; readonly meanwhile: KeptRate };

export type KeptAnswers = AsyncDisposable & { measure(): Promise<KeptRate> };

/** Asks for the status of the certificate leaf.pem in the part's directory, whose issuer's is chain.pem. */
export async function openKeptAnswers({ load, directory, quick }: Part, service: Service): Promise<KeptAnswers> {
  const words = ["-no_nonce", "-issuer", join(directory, "chain.pem"), "-cert", join(directory, "leaf.pem")];
  const request = await opensslRequest(directory, words);
  const path = `/ocsp/issuing-1/${encodeURIComponent(request.toString("base64"))}`;
  const response = join(directory, "kept.der");
  await writeFile(response, await get(`${service.statusUrl}${path}`));
  const told = await outputOf("openssl", ["ocsp", "-respin", response, "-noverify", "-resp_text"]);
  if (!told.includes("Cert Status: good")) throw new Error(`the responder does not call the certificate good: ${told}`);
  const messages = join(directory, "kept.messages");
  await writeMessages(messages, [Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)]);
  const bare = await startBare(response);
  const { processes } = await chancery(service, []);
  const port = Number(new URL(service.statusUrl).port);
  const ours = { ...status("kept, by GET", { port, messages, processId: 0 }), processes };
  const theirs = status("bare node:http", { ...bare, messages });
  // So long that the seconds end it.
  const window = { callers: 16, requests: 10_000_000, seconds: quick ? 1 : 2 };
  const measure = async (): Promise<KeptRate> => ({
    kept: await measureWindow(load, ours, window),
    bare: await measureWindow(load, theirs, window),
  });
  await measure();
  return { measure, [Symbol.asyncDispose]: () => bare[Symbol.asyncDispose]() };
}
