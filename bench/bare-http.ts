import { readFileSync } from "node:fs";
import { createServer } from "node:http";

/**
 * The least that an answer by node:http costs: the same octets to every request, with no more headers than it takes to read them. Started
 * with the file that they stand in; tells the port that it listens on.
 */
const body = readFileSync(process.argv[2] ?? "");
const headers = { "content-type": "application/ocsp-response", "content-length": body.length };

const server = createServer((_, outgoing) => {
  outgoing.writeHead(200, headers);
  outgoing.end(body);
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.({ port: typeof address === "object" ? address?.port : undefined });
});
process.on("disconnect", () => process.exit());
