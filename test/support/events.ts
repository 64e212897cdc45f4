import type { EventName, Events, MetricName } from "../../src/ports/events.ts";

/** What was told and measured, in order. */
export type RecordedEvents = Events & {
  readonly told: readonly { readonly level: string; readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> }[];
  readonly measured: readonly { readonly metric: MetricName; readonly value: number; readonly labels: Readonly<Record<string, string>> }[];
};

/** Events that a test reads afterwards. */
export function recordedEvents(): RecordedEvents {
  const told: { level: string; event: EventName; fields: Readonly<Record<string, unknown>> }[] = [];
  const measured: { metric: MetricName; value: number; labels: Readonly<Record<string, string>> }[] = [];
  return {
    told,
    measured,
    tell: (level, event, fields = {}) => void told.push({ level, event, fields }),
    measure: (metric, value, labels = {}) => void measured.push({ metric, value, labels }),
  };
}
