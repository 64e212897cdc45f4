import { describe, expect, test } from "vitest";
import { openEvents } from "../../src/observe/events.ts";
import { openLog } from "../../src/observe/log.ts";
import { openMetrics } from "../../src/observe/metrics.ts";
import type { MetricName } from "../../src/ports/events.ts";
import { clockOf } from "../support/clock.ts";

function observed(sink: (line: string) => void = () => undefined) {
  const metrics = openMetrics();
  const clock = clockOf(() => new Date("2026-11-01T12:00:00Z"));
  return { metrics, events: openEvents({ log: openLog({ level: "info", clock, sink }), metrics }) };
}

describe("events are counted and logged (MON-3)", () => {
  test("an event stands in the log and in chancery_events_total", async () => {
    const lines: string[] = [];
    const { events, metrics } = observed((line) => lines.push(line));
    events.tell("warn", "hsm.deadline", { token: "chancery-issuing" });
    events.tell("warn", "hsm.deadline");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: "warn", event: "hsm.deadline", token: "chancery-issuing" },
      { level: "warn" },
    ]);
    expect((await metrics.render()).text).toContain('chancery_events_total{event="hsm.deadline"} 2');
  });

  test("an event below the log's level is counted all the same", async () => {
    const { events, metrics } = observed(() => expect.unreachable());
    events.tell("debug", "certificate.issued");
    expect((await metrics.render()).text).toContain('chancery_events_total{event="certificate.issued"} 1');
  });

  test.for<{ metric: MetricName; shape: "histogram" | "gauge" }>([
    { metric: "chancery_hsm_sign_seconds", shape: "histogram" },
    { metric: "chancery_hsm_wait_seconds", shape: "histogram" },
    { metric: "chancery_hsm_queue_depth", shape: "gauge" },
    { metric: "chancery_hsm_sessions", shape: "gauge" },
    { metric: "chancery_database_seconds", shape: "histogram" },
    { metric: "chancery_database_group_size", shape: "histogram" },
    { metric: "chancery_issuance_seconds", shape: "histogram" },
    { metric: "chancery_http_request_seconds", shape: "histogram" },
  ])("$metric is a $shape", async ({ metric, shape }) => {
    const { events, metrics } = observed();
    events.measure(metric, 0.25);
    const { text } = await metrics.render();
    expect(text).toContain(`# TYPE ${metric} ${shape}`);
    expect(text).toContain(shape === "gauge" ? `${metric} 0.25` : `${metric}_sum 0.25`);
  });

  test("a label that a metric does not declare makes no series: a caller cannot grow the registry", async () => {
    const { events, metrics } = observed();
    events.measure("chancery_http_request_seconds", 0.1, {
      door: "rest",
      route: "GET /v1/profiles",
      status: "200",
      subject: "a.example.org",
    });
    const { text } = await metrics.render();
    expect(text).toContain('chancery_http_request_seconds_count{door="rest",route="GET /v1/profiles",status="200"} 1');
    expect(text).not.toContain("a.example.org");
  });

  test("telling never throws: not for a field that cannot be read, not for a value that is no number, not for a log that is gone", () => {
    const { events } = observed(() => {
      throw new Error("EPIPE");
    });
    const field = Object.defineProperty({}, "x", { enumerable: true, get: () => JSON.parse("{") });
    events.tell("error", "request.failed", { field });
    events.tell("error", "request.failed");
    events.measure("chancery_hsm_sign_seconds", Number.NaN);
  });

  test("the process's own figures and the event loop's lag are exposed, in Prometheus' text format", async () => {
    const { contentType, text } = await observed().metrics.render();
    expect(contentType).toContain("text/plain; version=0.0.4");
    expect(text).toContain("process_cpu_seconds_total");
    expect(text).toContain("nodejs_eventloop_lag_seconds");
  });

  test("a total that another part keeps is read at each scrape", async () => {
    const { metrics } = observed();
    let total = 3;
    metrics.countFrom({ name: "chancery_database_round_trips_total", help: "Round trips to PostgreSQL", read: () => total });
    expect((await metrics.render()).text).toContain("chancery_database_round_trips_total 3\n");
    total = 8;
    expect((await metrics.render()).text).toContain("chancery_database_round_trips_total 8\n");
  });
});
