import { modulePath } from "./token.ts";

/** The environment of an evaluation in this directory over this database, on ports that are free. */
export function groundEnv(directory: string, databaseUrl: string): Readonly<Record<string, string>> {
  return {
    CHANCERY_ENV: "evaluation",
    CHANCERY_DATA_DIR: directory,
    CHANCERY_LISTEN: "127.0.0.1:0",
    CHANCERY_STATUS_LISTEN: "127.0.0.1:0",
    CHANCERY_OPS_LISTEN: "127.0.0.1:0",
    CHANCERY_PKCS11_MODULE: modulePath(),
    CHANCERY_LOG_LEVEL: "error",
    DATABASE_URL: databaseUrl,
  };
}
