import { outputOf, several } from "../execute.ts";
import type { Matrix } from "../matrix.ts";
import { fetchFile } from "./evidence.ts";
import type { Stage } from "./stage.ts";
import type { Specimen } from "./tool.ts";

/** A revocation stands in its CRL so many seconds later at the latest (XC-17). */
const listedWithinSeconds = 60;

/** Every revoked certificate stands in the CRL that it names, in good time, and with the very time that OCSP tells (XC-6); OpenSSL reads both. */
export async function timesAgree(matrix: Matrix, { specimens }: Stage): Promise<void> {
  const revoked = Object.values(specimens).flatMap((family) => family.filter(({ condition }) => condition.startsWith("revoked")));
  const begun = performance.now();
  const check = `a revocation stands in its CRL within ${listedWithinSeconds} s, at the time that OCSP tells (XC-6, XC-17)`;
  await several(revoked, 2, async (specimen) => {
    await matrix.check({ subject: "CRLs", peer: "chancery", check }, async () => {
      const byOcsp = await ocspTime(specimen);
      for (;;) {
        const byCrl = await crlTime(specimen);
        if (byCrl === byOcsp && byCrl !== undefined) return undefined;
        const late = performance.now() - begun > listedWithinSeconds * 1000;
        if (late || byCrl !== undefined) return `${specimen.name}: ${byCrl ?? "nothing"} in the CRL, ${byOcsp ?? "nothing"} by OCSP`;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    });
  });
}

async function ocspTime({ certificate, issuer, root, ocspUrl }: Specimen): Promise<string | undefined> {
  const asked = ["-url", ocspUrl, "-issuer", issuer, "-cert", certificate, "-CAfile", root];
  const told = await outputOf("openssl", ["ocsp", ...asked]);
  return /Revocation Time: (.*)/.exec(told)?.[1];
}

async function crlTime({ certificate, crlUrl }: Specimen): Promise<string | undefined> {
  const serial = (await outputOf("openssl", ["x509", "-in", certificate, "-noout", "-serial"])).trim().slice("serial=".length);
  const file = await fetchFile(crlUrl, `${certificate}.crl`);
  const text = await outputOf("openssl", ["crl", "-in", file, "-inform", "DER", "-noout", "-text"]);
  return new RegExp(String.raw`Serial Number: ${serial}\s+Revocation Date: (.*)`).exec(text)?.[1];
}
