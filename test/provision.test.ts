import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPin } from "../src/provision.ts";

test.for([
  { mode: 0o400, taken: true },
  { mode: 0o600, taken: true },
  { mode: 0o640, taken: false },
  { mode: 0o604, taken: false },
  { mode: 0o410, taken: false },
  { mode: 0o402, taken: false },
])("a PIN file of mode $mode (decimal) is taken: $taken", async ({ mode, taken }) => {
  const directory = await mkdtemp(join(tmpdir(), "chancery-"));
  try {
    const file = join(directory, "pin");
    await writeFile(file, "1234\n");
    await chmod(file, mode);
    const pin = readPin(file, "CHANCERY_PKCS11_PIN_FILE");
    if (taken) expect(await pin).toBe("1234");
    else await expect(pin).rejects.toMatchObject({ code: "refusedToStart", detail: expect.stringContaining(`chmod 0400 ${file}`) });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
