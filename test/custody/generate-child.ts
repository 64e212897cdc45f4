/** Generates one key pair in a process of its own and prints its reference as JSON. Argument: JSON with the place and the request. */
import { generateKeyPair } from "../../src/custody/generate.ts";
import { openCustody } from "./custody-world.ts";

const { place, request } = JSON.parse(process.argv[2] ?? "{}");
await using world = await openCustody(place);
process.stdout.write("ready\n");
const keyPair = await generateKeyPair(world.custody, request);
process.stdout.write(`${JSON.stringify(keyPair.reference)}\n`);
