import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, join } from "node:path";

/** A web server on port 80 of `address` that answers http-01 from the files of `directory`; for clients that write the file and serve nothing. */
export async function serveWebroot(directory: string, address: string): Promise<AsyncDisposable> {
  const prefix = "/.well-known/acme-challenge/";
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    const file = path.startsWith(prefix) ? readFile(join(directory, basename(path))) : Promise.reject(new Error(path));
    file.then(
      (content) => response.end(content),
      () => response.writeHead(404).end(),
    );
  });
  server.listen(80, address);
  await once(server, "listening");
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
