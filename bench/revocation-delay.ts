import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { outputOf } from "../conformance/execute.ts";
import type { Service } from "../conformance/service.ts";
import { get, opensslRequest } from "./ocsp.ts";

/** From the request that revokes a certificate: until OCSP says so where the good answer was kept, and until the CRL that is served lists it. */
export type Delay = { readonly ocspMs: number; readonly crlMs: number };

/** `revoke` is called for one after the other; `directory` has the issuer's certificate in chain.pem. */
export type Delayed = {
  readonly directory: string;
  /** Hex, of certificates that are good. */
  readonly serials: readonly string[];
  readonly revoke: (serial: string) => Promise<unknown>;
};

/** Between two looks. */
const ocspLookMs = 5;
const crlLookMs = 50;

/** Between two revocations: the next comes at another moment between two looks of the service's jobs. */
const pauseMs = (index: number): number => 300 + ((index * 137) % 500);

/** Revokes certificates one by one, and watches the service's own status listener. */
export async function measureDelays(service: Service, { directory, serials, revoke }: Delayed): Promise<readonly Delay[]> {
  await using list = watchCrl(`${service.statusUrl}/crl/issuing-1.crl`);
  const pending: Promise<Delay>[] = [];
  for (const [index, serial] of serials.entries()) {
    const url = `${service.statusUrl}/ocsp/issuing-1/${encodeURIComponent((await requestAbout(directory, serial)).toString("base64"))}`;
    const good = await get(url);
    if (!(await get(url)).equals(good)) throw new Error(`the answer about ${serial} is not kept`);
    const begun = performance.now();
    const listed = list.listed(serial);
    const [ocspMs] = await Promise.all([changed(url, good, begun), revoke(serial)]);
    if (!(await saysRevoked(directory, await get(url)))) throw new Error(`another answer about ${serial} came, which does not say revoked`);
    pending.push(listed.then((at) => ({ ocspMs, crlMs: at - begun })));
    await wait(pauseMs(index));
  }
  return await Promise.all(pending);
}

async function requestAbout(directory: string, serial: string): Promise<Buffer> {
  return await opensslRequest(directory, ["-no_nonce", "-issuer", join(directory, "chain.pem"), "-serial", `0x${serial}`]);
}

/** Milliseconds from `begun` until something else than `good` is answered. */
async function changed(url: string, good: Buffer, begun: number): Promise<number> {
  while ((await get(url)).equals(good)) await wait(ocspLookMs);
  return performance.now() - begun;
}

async function saysRevoked(directory: string, response: Buffer): Promise<boolean> {
  const file = join(directory, "delayed.der");
  await writeFile(file, response);
  return (await outputOf("openssl", ["ocsp", "-respin", file, "-noverify", "-resp_text"])).includes("Cert Status: revoked");
}

type CrlWatch = AsyncDisposable & { listed(serial: string): Promise<number> };

/** Looks at a CRL again and again, and tells when a serial number was first seen in it. */
function watchCrl(url: string): CrlWatch {
  const awaited = new Map<string, (at: number) => void>();
  const over = new AbortController();
  const watching = (async () => {
    while (!over.signal.aborted) {
      // A serial number of 16 random octets stands in a CRL as an entry or not at all.
      const crl = awaited.size > 0 ? await get(url) : Buffer.alloc(0);
      for (const [serial, tell] of awaited) {
        if (!crl.includes(Buffer.from(serial, "hex"))) continue;
        awaited.delete(serial);
        tell(performance.now());
      }
      await wait(crlLookMs);
    }
  })();
  return {
    listed: (serial) => new Promise((resolve) => awaited.set(serial, resolve)),
    async [Symbol.asyncDispose]() {
      over.abort();
      await watching;
    },
  };
}
