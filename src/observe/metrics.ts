import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EventName, MetricName } from "../ports/events.ts";

/** What is counted and measured, and how a scraper reads it. */
export type Metrics = {
  readonly count: (event: EventName) => void;
  /** Labels that the metric does not declare are left out, so that nobody can add a series by mistake. */
  readonly measure: (metric: MetricName, value: number, labels: Readonly<Record<string, string>>) => void;
  /** A total that another part keeps: read anew whenever somebody scrapes. Once for each name. */
  readonly countFrom: (total: { readonly name: string; readonly help: string; readonly read: () => number }) => void;
  /** A value that another part keeps: read anew whenever somebody scrapes, and left out while there is none. Once for each name. */
  readonly measureFrom: (value: {
    readonly name: string;
    readonly help: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly read: () => number | undefined;
  }) => void;
  /** A value for each of some things that another part keeps, as `measureFrom`: a series for each set of labels that is read. */
  readonly measureEach: (value: {
    readonly name: string;
    readonly help: string;
    readonly labels: readonly string[];
    readonly read: () => Iterable<{ readonly labels: Readonly<Record<string, string>>; readonly value: number }>;
  }) => void;
  /** Everything in Prometheus' text format, the process's own figures included. */
  readonly render: () => Promise<{ readonly contentType: string; readonly text: string }>;
};

type Measured = {
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram's buckets; a gauge has none, nor has a counter. */
  readonly buckets?: readonly number[];
  /** Values are added up. */
  readonly total?: true;
};

/** From a signature in a fast token to a deadline that was missed. */
const seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Labels are bounded (MON-3): no key, principal, address or path of a caller. */
const measured: Readonly<Record<MetricName, Measured>> = {
  chancery_hsm_sign_seconds: {
    help: "Time from asking the token for a signature to having it",
    labels: ["token", "purpose"],
    buckets: seconds,
  },
  chancery_hsm_wait_seconds: { help: "Time that a call waited for a session", labels: ["token", "priority"], buckets: seconds },
  chancery_hsm_queue_depth: { help: "Calls that wait for a session", labels: ["token"] },
  chancery_hsm_sessions: { help: "Open sessions", labels: ["token"] },
  chancery_database_seconds: { help: "Time of a query or transaction", labels: ["kind"], buckets: seconds },
  chancery_database_group_size: { help: "Acts that shared one commit", labels: ["name"], buckets: [1, 2, 4, 8, 16, 32, 64] },
  chancery_issuance_seconds: {
    help: "Time from a judged request to its durable certificate",
    labels: ["profile"],
    buckets: seconds,
  },
  chancery_ocsp_answers_total: {
    help: "Answers of the OCSP responders; source: found by path, kept, or made for one request alone",
    labels: ["status", "hash", "source"],
    total: true,
  },
  chancery_crl_publish_seconds: {
    help: "Time from taking up a CRL to its publication",
    labels: [],
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  },
  chancery_http_request_seconds: {
    help: "Time from a request's headers to its answer",
    labels: ["door", "route", "status"],
    buckets: seconds,
  },
};

/** A registry of its own: two services in one process count apart. */
export function openMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const events = new Counter({
    name: "chancery_events_total",
    help: "What happened, by event",
    labelNames: ["event"],
    registers: [registry],
  });
  const names = Object.keys(measured).filter(isMetricName);
  const recorders = new Map(names.map((name) => [name, recorder(registry, name, measured[name])]));
  return {
    count: (event) => events.inc({ event }),
    measure: (metric, value, labels) => recorders.get(metric)?.(value, labels),
    countFrom: ({ name, help, read }) => {
      const collect = function (this: Counter): void {
        this.reset();
        this.inc(read());
      };
      void new Counter({ name, help, registers: [registry], collect });
    },
    measureFrom: ({ name, help, labels, read }) => {
      const collect = function (this: Gauge): void {
        const value = read();
        if (value === undefined) this.reset();
        else this.set({ ...labels }, value);
      };
      void new Gauge({ name, help, labelNames: Object.keys(labels), registers: [registry], collect });
    },
    measureEach: ({ name, help, labels, read }) => {
      const collect = function (this: Gauge): void {
        this.reset();
        for (const each of read()) this.set({ ...each.labels }, each.value);
      };
      void new Gauge({ name, help, labelNames: [...labels], registers: [registry], collect });
    },
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}

function isMetricName(name: string): name is MetricName {
  return Object.hasOwn(measured, name);
}

function recorder(registry: Registry, name: MetricName, { help, labels, buckets, total }: Measured) {
  const options = { name, help, labelNames: [...labels], registers: [registry] };
  const declared = (given: Readonly<Record<string, string>>): Record<string, string> => {
    const kept: Record<string, string> = {};
    for (const label of labels) if (given[label] !== undefined) kept[label] = given[label];
    return kept;
  };
  if (total) {
    const counter = new Counter(options);
    return (value: number, given: Readonly<Record<string, string>>) => counter.inc(declared(given), value);
  }
  if (!buckets) {
    const gauge = new Gauge(options);
    return (value: number, given: Readonly<Record<string, string>>) => gauge.set(declared(given), value);
  }
  const histogram = new Histogram({ ...options, buckets: [...buckets] });
  return (value: number, given: Readonly<Record<string, string>>) => histogram.observe(declared(given), value);
}
