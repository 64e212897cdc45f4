/**
 * What happened, told to whoever counts and logs it. A port, so that the domain names no metric library. Never throws, never waits.
 * Fields are safe to log: no key material, tokens, PINs or request bodies.
 */
export type Events = {
  /** Something happened once: counted under its name and written to the log at `level`. */
  tell(level: "debug" | "info" | "warn" | "error", event: EventName, fields?: Readonly<Record<string, unknown>>): void;
  /** A duration in seconds, or another measured value, under the metric's name and labels. */
  measure(metric: MetricName, value: number, labels?: Readonly<Record<string, string>>): void;
};

/** Names of events, in the words of the log and of the metric `chancery_events_total{event=…}`. */
export type EventName =
  | "certificate.issued"
  | "certificate.repeated"
  | "certificate.revoked"
  | "revocation.begun"
  | "revocation.ended"
  | "revocation.stopped"
  | "issuance.refused"
  | "issuance.halted"
  | "issuance.resumed"
  | "issuance.closed"
  | "issuance.settled"
  | "lint.refused"
  | "signature.corrupt"
  | "second-decoder.disagreed"
  | "clock.refused"
  | "crl.published"
  | "crl.refused"
  | "crl.failed"
  | "crl.file.refused"
  | "crl.held"
  | "crl.stale"
  | "crl.large"
  | "hsm.host.started"
  | "hsm.host.ended"
  | "hsm.call.failed"
  | "hsm.call.refused"
  | "hsm.deadline"
  | "hsm.breaker.opened"
  | "hsm.breaker.closed"
  | "hsm.sessions.reduced"
  | "hsm.pin.refused"
  | "status.feed.stale"
  | "status.feed.fresh"
  | "responder.renewed"
  | "responder.compromised"
  | "key.generated"
  | "key.unusable"
  | "key.unknown"
  | "key.pending"
  | "validator.started"
  | "validator.ended"
  | "validator.refused"
  | "validator.failed"
  | "database.failed"
  | "database.connected"
  | "validation.ended"
  | "validation.failed"
  | "acme.evaluation"
  | "nonce.refused"
  | "job.failed"
  | "request.failed"
  | "tls.renewed"
  | "service.started"
  | "service.stopping";

/** Names of measured values (Prometheus conventions: seconds, totals). */
export type MetricName =
  | "chancery_hsm_sign_seconds"
  | "chancery_hsm_wait_seconds"
  | "chancery_hsm_queue_depth"
  | "chancery_hsm_sessions"
  | "chancery_database_seconds"
  | "chancery_database_group_size"
  | "chancery_issuance_seconds"
  | "chancery_crl_publish_seconds"
  | "chancery_ocsp_answers_total"
  | "chancery_http_request_seconds";
