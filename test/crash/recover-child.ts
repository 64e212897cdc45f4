import { recoverAdminToken } from "../../src/admin-token.ts";
import { loadConfig } from "../../src/config.ts";

/** A recovery that ends by SIGKILL when its token is durable in the database and not yet in the file. */
await recoverAdminToken(loadConfig({ env: process.env, directory: process.cwd() }), {
  database: (database) => ({
    ...database,
    async transact(act) {
      const result = await database.transact(act);
      process.kill(process.pid, "SIGKILL");
      return result;
    },
  }),
});
