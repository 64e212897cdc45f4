#!/usr/bin/env node
// The command `npx chancery`, run where it was called.
import { launch } from "./launch.mjs";

await launch("cli", process.argv.slice(2), process.cwd());
