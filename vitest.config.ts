import { defineConfig } from "vitest/config";

/** Tests that need neither PostgreSQL nor a token: they run alone in `npm run check` and beside the others in `npm test`. */
const withoutService = [
  "test/architecture.test.ts",
  "test/conformance-*.test.ts",
  "test/scripts/**/*.test.ts",
  "test/pki/**/*.test.ts",
  "test/jose/**/*.test.ts",
];

export default defineConfig({
  test: {
    pool: "forks",
    // Many tests wait for processes, sockets and disks: two files at once fill two cores.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ["default", ["json", { outputFile: "var/test-report.json" }]],
    projects: [
      { extends: true, test: { name: "pure", include: withoutService } },
      {
        extends: true,
        test: { name: "service", include: ["test/**/*.test.ts"], exclude: withoutService, globalSetup: ["test/support/global.ts"] },
      },
    ],
  },
});
