import { setTimeout as wait } from "node:timers/promises";
import type { Check, OpsDoors, Verdict } from "../doors.ts";
import { type PlainAnswer, plainHandler, text } from "../plain.ts";
import type { Handler } from "../server.ts";

/** How long a check may take before it counts as failed. */
const checkMs = 2_000;

/**
 * The ops listener, plain HTTP, for orchestrators and Prometheus: `/livez` says that the process answers, and which one it is;
 * `/readyz` and its parts whether it can do its work, with the reason of each check; `/metrics` what it has counted. Readiness to give status stands apart from readiness
 * to issue, since the one outlives database and HSM (O-3, O-4); and so does readiness to revoke, which goes on while issuance is halted or the token is away.
 */
export function opsListener(doors: OpsDoors): Handler {
  const all = [...doors.issueChecks, ...doors.statusChecks.filter((check) => !doors.issueChecks.some(({ name }) => name === check.name))];
  const pages: Readonly<Record<string, () => PlainAnswer | Promise<PlainAnswer>>> = {
    "/livez": () => json(200, { live: true, instance: doors.instance }),
    "/readyz": () => readiness(all),
    "/readyz/issue": () => readiness(doors.issueChecks),
    "/readyz/revoke": () => readiness(doors.revokeChecks),
    "/readyz/status": () => readiness(doors.statusChecks),
    "/metrics": () => metrics(doors),
  };
  return plainHandler((incoming) => {
    const path = (incoming.url ?? "").split("?", 1)[0] ?? "";
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (!page) return text(404, `Here are ${Object.keys(pages).join(", ")}.`);
    if (incoming.method !== "GET" && incoming.method !== "HEAD") return text(405, "This path takes GET and HEAD.", { allow: "GET, HEAD" });
    return page();
  });
}

async function readiness(checks: readonly Check[]): Promise<PlainAnswer> {
  const verdicts = await Promise.all(checks.map(async (check) => [check.name, await verdict(check)] as const));
  const ready = verdicts.every(([, { ready: one }]) => one);
  return json(ready ? 200 : 503, { ready, checks: Object.fromEntries(verdicts) });
}

async function verdict({ run }: Check): Promise<Verdict> {
  const late = new AbortController();
  const tooLate = wait(checkMs, { ready: false, detail: `no answer within ${checkMs / 1000} s` }, { signal: late.signal }).catch(
    (): Verdict => ({ ready: false, detail: "not waited for" }),
  );
  try {
    return await Promise.race([Promise.resolve().then(run), tooLate]);
  } catch {
    return { ready: false, detail: "the check itself failed" };
  } finally {
    late.abort();
  }
}

async function metrics(doors: OpsDoors): Promise<PlainAnswer> {
  const { contentType, text: body } = await doors.metrics();
  return { status: 200, headers: { "content-type": contentType, "cache-control": "no-store" }, body };
}

function json(status: 200 | 503, value: unknown): PlainAnswer {
  return { status, headers: { "content-type": "application/json", "cache-control": "no-store" }, body: `${JSON.stringify(value)}\n` };
}
