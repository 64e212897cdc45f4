// What every npm script runs: plain JavaScript for Node 18 or newer, without dependencies.
import { launch } from "./launch.mjs";

const [mode = "", ...args] = process.argv.slice(2);
// npm runs its scripts in the top directory and says where it was called.
await launch(mode, args, mode === "cli" ? (process.env.INIT_CWD ?? process.cwd()) : process.cwd());
