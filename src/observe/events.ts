import type { Events } from "../ports/events.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** Events that are counted in `metrics` and written to `log`. What cannot be recorded is dropped: an act never fails for its telling. */
export function openEvents({ log, metrics }: { readonly log: Log; readonly metrics: Metrics }): Events {
  return {
    tell: (level, event, fields = {}) => {
      try {
        metrics.count(event);
        log.write(level, event, fields);
      } catch {
        // A closed pipe behind standard error, or a field whose getter throws.
      }
    },
    measure: (metric, value, labels = {}) => {
      try {
        if (Number.isFinite(value)) metrics.measure(metric, value, labels);
      } catch {
        // Nothing is worth failing for here either.
      }
    },
  };
}
