import { startEmbedded } from "../../src/database/embedded.ts";

/** A service that only holds its server: prints the postmaster's process id. */
const server = await startEmbedded(process.argv[2] ?? "");
process.stdout.write(String(server.pid()));
