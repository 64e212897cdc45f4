import { outputOf, several } from "../execute.ts";
import type { Matrix } from "../matrix.ts";
import { fetchFile } from "./evidence.ts";
import type { Stage } from "./stage.ts";
import type { Specimen } from "./tool.ts";

/** So many seconds after its revocation a certificate stands in its CRL at the latest (XC-17). */
const listedWithinSeconds = 60;

/** Every revoked certificate stands in the CRL that it names, in good time, and with the very time that OCSP tells (XC-6); OpenSSL reads both. */
export async function timesAgree(matrix: Matrix, { specimens }: Stage): Promise<void> {
  const revoked = Object.values(specimens).flatMap((family) => family.filter(({ condition }) => condition.startsWith("revoked")));
  const check = `${listedWithinSeconds} s after a revocation it stands in its CRL, at the time that OCSP tells (XC-6, XC-17)`;
  await several(revoked, 2, async (specimen) => {
    await matrix.check({ subject: "CRLs", peer: "chancery", check }, async () => {
      const { name, revokedAt } = specimen;
      if (revokedAt === undefined) return `${name}: nobody noted when it was revoked`;
      const byOcsp = await ocspTime(specimen);
      for (;;) {
        const { date, thisUpdate } = await inCrl(specimen);
        const seconds = (Math.min(Date.now(), thisUpdate.getTime()) - revokedAt.getTime()) / 1000;
        if (date === undefined && (Date.now() - revokedAt.getTime()) / 1000 <= listedWithinSeconds) {
          await new Promise((resolve) => setTimeout(resolve, 500));
          continue;
        }
        if (date === undefined || date !== byOcsp) return `${name}: ${date ?? "nothing"} in the CRL, ${byOcsp ?? "nothing"} by OCSP`;
        return seconds <= listedWithinSeconds ? undefined : `${name}: it stands in the CRL of ${seconds} s later`;
      }
    });
  });
}

async function ocspTime({ certificate, issuer, root, ocspUrl }: Specimen): Promise<string | undefined> {
  const asked = ["-url", ocspUrl, "-issuer", issuer, "-cert", certificate, "-CAfile", root];
  const told = await outputOf("openssl", ["ocsp", ...asked]);
  return /Revocation Time: (.*)/.exec(told)?.[1];
}

/** The revocation date of the certificate in the CRL that it names, undefined where it is not in it; and since when that CRL is. */
async function inCrl({ certificate, crlUrl }: Specimen): Promise<{ date: string | undefined; thisUpdate: Date }> {
  const serial = (await outputOf("openssl", ["x509", "-in", certificate, "-noout", "-serial"])).trim().slice("serial=".length);
  const file = await fetchFile(crlUrl, `${certificate}.crl`);
  const text = await outputOf("openssl", ["crl", "-in", file, "-inform", "DER", "-noout", "-text"]);
  const date = new RegExp(String.raw`Serial Number: ${serial}\s+Revocation Date: (.*)`).exec(text)?.[1];
  return { date, thisUpdate: new Date(/Last Update: (.*)/.exec(text)?.[1] ?? "none") };
}
