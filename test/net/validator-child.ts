/** Opens a validator, prints the process id of its child, and waits to be killed. */
import { openWorld, validatorPids } from "./validator-world.ts";

await openWorld({});
const [pid] = await validatorPids();
process.stdout.write(`${pid ?? 0}\n`);
