import { randomUUID } from "node:crypto";
import { openHsm } from "../src/hsm/client.ts";
import { softHsmConf } from "../src/hsm/softhsm.ts";
import { initialiseToken } from "../src/hsm/token.ts";
import { spkiSha256 } from "../src/pki/algorithm.ts";

/**
 * What the token does through the service's own HSM client and host process, without HTTP and without a database.
 * Started with the module's path, a directory and a TBSCertificate (base64); answers each message { signatures, callers } with { seconds }.
 */
const [, , modulePath = "", directory = "", message = ""] = process.argv;
const tbs = Buffer.from(message, "base64");
const conf = await softHsmConf(directory);
const pin = "12345678";
await initialiseToken({ module: modulePath, softHsmConf: conf, label: "bench", soPin: pin, userPin: pin });
const silent = { tell: () => undefined, measure: () => undefined };
const hsm = await openHsm(
  {
    module: modulePath,
    token: "bench",
    pin,
    sessions: 8,
    deadlineMs: 10_000,
    queueLimit: 1000,
    softHsmConf: conf,
    production: false,
    administration: true,
    optionNames: { module: "module", token: "token", pinFile: "pin" },
  },
  { events: silent },
);
const ckaId = randomUUID().replaceAll("-", "");
const { spki } = await hsm.generate({ ckaId, name: "bench", algorithm: "P-256", purposes: ["certificate"] });
const key = { token: "bench", ckaId, algorithm: "P-256", spkiSha256: spkiSha256(spki) } as const;

process.on("message", ({ signatures, callers }: { signatures: number; callers: number }) => {
  void (async () => {
    const begun = performance.now();
    let left = signatures;
    const caller = async (): Promise<void> => {
      while (left-- > 0) await hsm.sign(key, "certificate", tbs);
    };
    await Promise.all(Array.from({ length: callers }, caller));
    process.send?.({ seconds: (performance.now() - begun) / 1000 });
  })();
});
process.on("disconnect", () => void hsm[Symbol.asyncDispose]());
process.send?.({ ready: true });
