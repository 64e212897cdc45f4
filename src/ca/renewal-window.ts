/** What is known of a certificate when it is asked when to renew it. */
export type Renewable = {
  /** Name of its profile. */
  readonly profile: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** When it was recorded: later than a notBefore that was set back. */
  readonly issuedAt: Date;
  readonly revoked: boolean;
};

/** The time in which a certificate is to be renewed: `start` before `end`. */
export type RenewalWindow = { readonly start: Date; readonly end: Date };

/** Profiles of workloads, which renew by the middle of a life that is hours long. */
const workloadProfiles: ReadonlySet<string> = new Set(["mtls"]);

const dayMs = 86_400_000;
const shortLifeMs = 10 * dayMs;

/**
 * When to renew: the one answer for ACME (RFC 9773 §4.2) and agents. A workload's certificate from half of its life to two thirds; another
 * around two thirds of it, or around half when it lives less than ten days, one percent to either side. Of one that was issued when that
 * had begun, from half of what was left to two thirds: a client that sees an open window at once would renew for ever. The window of a
 * revoked certificate is past.
 */
export function renewalWindow(certificate: Renewable, now: Date): RenewalWindow {
  if (certificate.revoked) return between(now.getTime() - 3_600_000, now.getTime() - 1_800_000);
  const issuedMs = certificate.issuedAt.getTime();
  const usual = usualWindow(certificate);
  const [startMs, endMs] = workloadProfiles.has(certificate.profile) || usual[0] <= issuedMs ? restOfLife(certificate) : usual;
  return between(Math.max(startMs, issuedMs + 1_000), endMs);
}

/** From half of the time between issuance and the end to two thirds. */
function restOfLife({ issuedAt, notAfter }: Renewable): [number, number] {
  const lifeMs = notAfter.getTime() - issuedAt.getTime();
  return [issuedAt.getTime() + lifeMs / 2, issuedAt.getTime() + (lifeMs * 2) / 3];
}

function usualWindow({ notBefore, notAfter }: Renewable): [number, number] {
  const lifeMs = notAfter.getTime() - notBefore.getTime();
  const centreMs = notBefore.getTime() + lifeMs * (lifeMs < shortLifeMs ? 1 / 2 : 2 / 3);
  return [centreMs - lifeMs / 100, centreMs + lifeMs / 100];
}

/** In whole seconds, as times are written. */
function between(startMs: number, endMs: number): RenewalWindow {
  const start = Math.floor(startMs / 1000) * 1000;
  return { start: new Date(start), end: new Date(Math.max(Math.floor(endMs / 1000) * 1000, start + 1_000)) };
}
