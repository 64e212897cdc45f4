import { X509Certificate } from "node:crypto";
import { member } from "./certificates.ts";
import type { Run } from "./matrix.ts";
import { rest, type Service } from "./service.ts";

/** What stands behind the caIssuers URLs: `/ca/{slug}.cer` is, byte for byte, the certificate that the authority has in its chain. */
export async function published({ matrix }: Run, service: Service): Promise<void> {
  const answer = await rest(service, "GET", "/v1/authorities");
  const { authorities } = JSON.parse(answer.body) as { authorities: unknown[] };
  for (const slug of ["root-1", "issuing-1"]) {
    await matrix.check({ subject: `/ca/${slug}.cer`, peer: "chancery", check: "equals the authority's certificate" }, async () => {
      const authority = authorities.find((one) => member(one, "slug") === slug);
      if (authority === undefined) return `no authority ${slug} in GET /v1/authorities`;
      const expected = new X509Certificate(member(authority, "certificate")).raw;
      const response = await fetch(`${service.statusUrl}/ca/${slug}.cer`);
      const type = response.headers.get("content-type");
      const served = Buffer.from(await response.arrayBuffer());
      if (response.status !== 200) return `status ${response.status}`;
      if (type !== "application/pkix-cert") return `Content-Type ${type}, RFC 5280 §4.2.2.1 says application/pkix-cert`;
      return served.equals(expected) ? undefined : "other bytes than the authority's certificate";
    });
  }
}
