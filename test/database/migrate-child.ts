import { openDatabase } from "../../src/database/connect.ts";
import { migrate } from "../../src/database/migrate.ts";

/** An instance that starts whenever it is told a database: answers with the names of the files that it ran. */
process.on("message", (url) => {
  void start(String(url)).then(
    (names) => process.send?.(names),
    (error: unknown) => process.send?.([String(error)]),
  );
});
process.send?.("ready");

async function start(url: string): Promise<string[]> {
  await using database = await openDatabase({ url, poolSize: 2 }, { events: { tell() {}, measure() {} } });
  return migrate(database);
}
