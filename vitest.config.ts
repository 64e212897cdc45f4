import { defineConfig } from "vitest/config";

/** Tests that need neither PostgreSQL nor a token: they run alone in `npm run check` and beside the others in `npm test`. */
const withoutService = [
  "test/architecture.test.ts",
  "test/conformance-*.test.ts",
  "test/scripts/**/*.test.ts",
  "test/pki/**/*.test.ts",
  "test/jose/**/*.test.ts",
];

/** Tests that kill, cut and take away, each with services of its own: they wait for starts, time-outs and leases. `npm run test:faults`. */
const withFaults = [
  "test/crash/**/*.test.ts",
  "test/faults/**/*.test.ts",
  "test/hsm/{trouble,start,return-value-reaction}.test.ts",
  "test/cli/doctor.test.ts",
  "test/custody/generate.test.ts",
  "test/database/embedded.test.ts",
  "test/net/validator-client.test.ts",
];

export default defineConfig({
  test: {
    pool: "forks",
    // Many tests wait for processes, sockets, disks and time-outs: three files at once fill two cores.
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ["default", ["json", { outputFile: process.env["TEST_REPORT"] ?? "var/test-report.json" }]],
    projects: [
      // They change nothing outside of themselves, so that they may share a process and what it has loaded.
      { extends: true, test: { name: "pure", include: withoutService, isolate: false } },
      {
        extends: true,
        test: {
          name: "service",
          isolate: false,
          include: ["test/**/*.test.ts"],
          exclude: [...withoutService, ...withFaults],
          globalSetup: ["test/support/global.ts"],
        },
      },
      { extends: true, test: { name: "faults", isolate: false, include: withFaults, globalSetup: ["test/support/global.ts"] } },
    ],
  },
});
