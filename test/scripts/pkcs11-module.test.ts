import { existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { provideModule } from "../../scripts/pkcs11-module.mjs";
import { type Checkout, makeCheckout } from "./checkout.ts";

const unpacked = "var/softhsm/usr/lib/softhsm/libsofthsm2.so";

/** apt-get that leaves a package file, as `download` does. */
const deliver = `for last; do :; done; case "$*" in *download*) : > "\${last}_1_any.deb" ;; esac`;

/** dpkg-deb that unpacks the module, or a library for any other package, and tells what the module depends on. */
const unpack = `case "$1 $2" in
-f*) echo "softhsm2-common, libc6 (>= 2.33), libssl3 (>= 3.0.0)" ;;
*libsofthsm2_*) mkdir -p "$3/usr/lib/softhsm"; : > "$3/usr/lib/softhsm/libsofthsm2.so" ;;
*) mkdir -p "$3/usr/lib/any-linux-gnu"; : > "$3/usr/lib/any-linux-gnu/libcrypto.so.3" ;;
esac`;

test("the configured module comes before all others (PK-0)", async () => {
  const { root, write, known } = world();
  const configured = write("hsm/libhsm.so", "");
  write("system/libsofthsm2.so", "");
  write(unpacked, "");
  const env = { CHANCERY_PKCS11_MODULE: configured };
  await expect(provideModule({ root, env, known })).resolves.toEqual({ CHANCERY_PKCS11_MODULE: configured });
});

test("a configured module that is not there is refused by name", async () => {
  const { root, known } = world();
  const env = { CHANCERY_PKCS11_MODULE: "/nowhere/libhsm.so" };
  await expect(provideModule({ root, env, known })).rejects.toThrow(
    "CHANCERY_PKCS11_MODULE names /nowhere/libhsm.so, which does not exist",
  );
});

test("an installed module comes before the unpacked one (PK-0)", async () => {
  const { root, write, known } = world();
  const installed = write("system/libsofthsm2.so", "");
  write(unpacked, "");
  await expect(provideModule({ root, env: { PATH: "" }, known })).resolves.toEqual({ CHANCERY_PKCS11_MODULE: installed });
});

test("without any, SoftHSM is unpacked under var, and a second run reaches no network (PK-0)", async () => {
  const { root, known, tools } = world();
  const calls = tools({ "apt-get": deliver, "dpkg-deb": unpack, ldd: "exit 0" });
  const found = { CHANCERY_PKCS11_MODULE: join(root, unpacked) };

  await expect(provideModule({ root, env: calls.env, known })).resolves.toEqual(found);
  await expect(provideModule({ root, env: { PATH: "" }, known })).resolves.toEqual(found);
  expect(calls.made()).toHaveLength(3);
  expect(readdirSync(join(root, "var"))).toEqual(["softhsm"]);
});

test("two that need SoftHSM at once fetch it once", async () => {
  const { root, known, tools } = world();
  const calls = tools({ "apt-get": deliver, "dpkg-deb": unpack, ldd: "exit 0" });
  await Promise.all([provideModule({ root, env: calls.env, known }), provideModule({ root, env: calls.env, known })]);
  expect(calls.made()).toHaveLength(3);
});

test("without package lists they are read into a state of our own, which needs no root (PK-0)", async () => {
  const { root, known, tools } = world();
  const withoutLists = `case "$*" in *Dir::State=*) ;; *) echo "E: Unable to locate package libsofthsm2" >&2; exit 100 ;; esac\n${deliver}`;
  const calls = tools({ "apt-get": withoutLists, "dpkg-deb": unpack, ldd: "exit 0" });

  await expect(provideModule({ root, env: calls.env, known })).resolves.toHaveProperty("CHANCERY_PKCS11_MODULE");
  expect(calls.made().filter((call) => /^apt-get .*(update|download libsofthsm2)$/.test(call))).toHaveLength(3);
  expect(existsSync(join(root, "var/softhsm"))).toBe(true);
});

test("a library that the module needs and the machine lacks is unpacked beside it", async () => {
  const { root, known, tools } = world();
  const calls = tools({
    "apt-get": deliver,
    "dpkg-deb": unpack,
    "dpkg-query": `case "$*" in *libc6) echo installed ;; *) exit 1 ;; esac`,
    ldd: `case "$LD_LIBRARY_PATH" in "") echo "libcrypto.so.3 => not found" ;; esac`,
  });
  await expect(provideModule({ root, env: { ...calls.env, LD_LIBRARY_PATH: "" }, known })).resolves.toEqual({
    CHANCERY_PKCS11_MODULE: join(root, unpacked),
    LD_LIBRARY_PATH: join(root, "var/softhsm/usr/lib/any-linux-gnu"),
  });
});

test.for([
  {
    name: "no apt-get",
    tool: {},
    sentence: /^no PKCS#11 module was found, and without apt-get none can be fetched: install SoftHSM \(.*\) or set CHANCERY_PKCS11_MODULE/,
  },
  {
    name: "no network",
    tool: {
      "apt-get": `case "$*" in *update) echo "W: Temporary failure resolving" >&2 ;; *) echo "E: Unable to locate package" >&2; exit 100 ;; esac`,
    },
    sentence: /^no PKCS#11 module was found, and libsofthsm2 could not be fetched \(W: Temporary failure resolving\): install SoftHSM/,
  },
  { name: "no dpkg-deb", tool: { "apt-get": deliver }, sentence: /^SoftHSM could not be unpacked \(.*ENOENT\): install SoftHSM/ },
])("where none can be had, one sentence says what to do: $name", async ({ tool, sentence }) => {
  const { root, known, tools } = world();
  const { env } = tools(tool);
  await expect(provideModule({ root, env, known, platform: "linux" })).rejects.toThrow(sentence);
  expect(existsSync(join(root, "var/softhsm"))).toBe(false);
});

test("on macOS the sentence names the brew command (PK-0)", async () => {
  const { root, known } = world();
  await expect(provideModule({ root, env: { PATH: "" }, known, platform: "darwin" })).rejects.toThrow(
    "run `brew install softhsm` and start again",
  );
});

/** A checkout, one path at which a module may be installed, and a PATH that holds only the tools a test names. */
function world(): Checkout & {
  known: string[];
  tools: (bodies: Record<string, string>) => { env: NodeJS.ProcessEnv; made: () => string[] };
} {
  const checkout = makeCheckout({ installed: true });
  onTestFinished(() => checkout[Symbol.dispose]());
  const known = [join(checkout.root, "system/libsofthsm2.so")];
  const tools = (bodies: Record<string, string>) => {
    const bin = join(checkout.root, "bin");
    const log = checkout.write("bin/calls.log", "");
    for (const tool of ["sh", "mkdir"]) symlinkSync(`/bin/${tool}`, join(bin, tool));
    for (const [name, body] of Object.entries(bodies))
      checkout.write(`bin/${name}`, `#!/bin/sh\necho "${name} $*" >> ${JSON.stringify(log)}\n${body}\n`, 0o755);
    return { env: { PATH: bin }, made: () => readFileSync(log, "utf8").trimEnd().split("\n") };
  };
  return { ...checkout, known, tools };
}
