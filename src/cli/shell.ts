import type { Config } from "../config.ts";

/** What a command touches beside the service: handed in by main.ts, so that one command runs like another whoever calls it. */
export type Shell = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the caller's relative paths mean. */
  readonly cwd: string;
  /** Top directory of the checkout: its `var` is the data directory unless one is named. */
  readonly checkout: string;
  now(): Date;
  out(text: string | Uint8Array): void;
  error(text: string): void;
  /** What `doctor` tries. */
  readonly trials: Trials;
};

/** Token and database opened as the service opens them, to see whether it could. */
export type Trials = {
  /** Every token that the module shows. @throws Fault `refusedToStart` when the module does not load. */
  tokens(config: Config): Promise<readonly Token[]>;
  /** Logs in once with the PIN of the PIN file, gives the CKA_ID of every private key, and closes the token. @throws Fault `refusedToStart`, `hsmUnavailable`. */
  login(config: Config): Promise<readonly string[]>;
  /** @throws Fault `refusedToStart`, `databaseUnavailable`. */
  database(config: Config, url: string): Promise<DatabaseTrial>;
  /**
   * Looks up the token in the data directory's `admin.token`: until when it is valid, "invalid", or undefined where the database does not run.
   * @throws Fault `refusedToStart`, `databaseUnavailable`.
   */
  adminToken(config: Config): Promise<{ readonly expiresAt: Date } | "invalid" | undefined>;
};

/** A token as it describes itself. */
export type Token = {
  readonly label: string;
  readonly serial: string;
  readonly manufacturer: string;
  readonly initialised: boolean;
  readonly userPinCountLow: boolean;
  readonly userPinFinalTry: boolean;
  readonly userPinLocked: boolean;
};

/** What was seen of a database that the service would accept. */
export type DatabaseTrial = {
  readonly warnings: readonly string[];
  /** How far this machine's clock is ahead of the database's. */
  readonly skewSeconds: number;
  /** Names of the migrations that are still to be applied. */
  readonly pendingMigrations: readonly string[];
  /** The keys that are recorded in the issuing token; undefined while migrations are to be applied. */
  readonly keys: readonly RecordedKey[] | undefined;
  /** Slugs of the authorities that issue nothing any more; undefined while migrations are to be applied. */
  readonly revokedAuthorities: readonly string[] | undefined;
};

/** A key that the database says is in the token: `name` is what an operator knows it by, "the key of authority issuing-1". */
export type RecordedKey = { readonly name: string; readonly ckaId: string };

/** What a command has to say, once in each form: `--json` prints the document, everyone else reads the text. */
export type Report = { readonly document: unknown; readonly text: string };

/** Prints a report to stdout: with `json` exactly one JSON document, else the text with a line break at its end. */
export function print(shell: Shell, { document, text }: Report, json = false): void {
  shell.out(json ? `${JSON.stringify(document, undefined, 2)}\n` : text === "" || text.endsWith("\n") ? text : `${text}\n`);
}
