import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { Refusal } from "./say.mjs";

const advice =
  "install SoftHSM (Debian: apt-get install softhsm2, Fedora: dnf install softhsm) or set CHANCERY_PKCS11_MODULE to the path of a module";

/**
 * The variables that load the SoftHSM unpacked in `directory`, or undefined when none is there. LD_LIBRARY_PATH is among
 * them only when libraries had to be unpacked beside it.
 * @param {string} directory
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv | undefined}
 */
export function unpackedSoftHsm(directory, env) {
  const module = join(directory, "usr/lib/softhsm/libsofthsm2.so");
  if (!existsSync(module)) return undefined;
  const libraries = libraryDirectories(directory);
  if (libraries.length === 0) return { CHANCERY_PKCS11_MODULE: module };
  return { CHANCERY_PKCS11_MODULE: module, LD_LIBRARY_PATH: searchPath(libraries, env) };
}

/**
 * Unpacks Debian's SoftHSM, and those libraries it needs that this machine lacks, into `directory`. Needs apt-get and
 * dpkg-deb, no root and no package lists. apt checks the packages against Debian's signed lists. `directory` appears whole
 * or not at all.
 * @param {string} directory
 * @param {NodeJS.ProcessEnv} env
 * @throws Refusal with what apt said, and what else can be done
 */
export function fetchSoftHsm(directory, env) {
  const work = `${directory}.${process.pid}`;
  const tree = join(work, "tree");
  mkdirSync(tree, { recursive: true });
  try {
    const download = downloader(work, env);
    unpack(download("libsofthsm2"), tree, env);
    addMissingLibraries(work, tree, download, env);
    rmSync(directory, { recursive: true, force: true });
    renameSync(tree, directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * @param {string} work
 * @param {NodeJS.ProcessEnv} env
 * @returns {(name: string) => string} downloads a package, gives the path of its file
 */
function downloader(work, env) {
  // As root, apt would give the download to a user who may not write here.
  const basic = ["-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"];
  let options = basic;
  /** @param {string} name */
  const attempt = (name) => spawnSync("apt-get", [...options, "download", name], { cwd: work, env, encoding: "utf8" });

  return (name) => {
    let run = attempt(name);
    if (run.error) throw new Refusal(`no PKCS#11 module was found, and without apt-get none can be fetched: ${advice}`);
    let said = run.stderr;
    if (run.status !== 0 && options === basic) {
      // No package lists, or old ones: read them into a state of our own, which needs no root.
      options = [...basic, ...privateState(work)];
      const update = spawnSync("apt-get", [...options, "update"], { cwd: work, env, encoding: "utf8" });
      run = attempt(name);
      // What kept apt from the lists says more than that the package is not on them.
      said = update.stderr || run.stderr;
    }
    if (run.status !== 0)
      throw new Refusal(`no PKCS#11 module was found, and ${name} could not be fetched (${firstLine(said)}): ${advice}`);
    const file = readdirSync(work).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith(".deb"));
    if (!file) throw new Refusal(`apt-get left no package file for ${name}: ${advice}`);
    return join(work, file);
  };
}

/** @param {string} work */
function privateState(work) {
  const state = join(work, "state");
  const cache = join(work, "cache");
  mkdirSync(join(state, "lists/partial"), { recursive: true });
  mkdirSync(join(cache, "archives/partial"), { recursive: true });
  return ["-o", `Dir::State=${state}`, "-o", "Dir::State::status=/var/lib/dpkg/status", "-o", `Dir::Cache=${cache}`];
}

/**
 * @param {string} file
 * @param {string} tree
 * @param {NodeJS.ProcessEnv} env
 */
function unpack(file, tree, env) {
  const run = spawnSync("dpkg-deb", ["-x", file, tree], { env, encoding: "utf8" });
  if (run.status !== 0) throw new Refusal(`SoftHSM could not be unpacked (${run.error?.message ?? firstLine(run.stderr)}): ${advice}`);
}

/**
 * While the loader misses libraries, unpacks the libraries that the packages so far depend on and that are not installed.
 * @param {string} work
 * @param {string} tree
 * @param {(name: string) => string} download
 * @param {NodeJS.ProcessEnv} env
 */
function addMissingLibraries(work, tree, download, env) {
  /** @type {Set<string>} */
  const tried = new Set();
  while (missesLibraries(tree, env)) {
    const next = readdirSync(work)
      .filter((entry) => entry.endsWith(".deb"))
      .flatMap((file) => dependencies(join(work, file), env))
      .find((name) => name.startsWith("lib") && !tried.has(name) && !isPackageInstalled(name, env));
    if (!next) throw new Refusal(`the SoftHSM of this Debian misses libraries: ${advice}`);
    tried.add(next);
    unpack(download(next), tree, env);
  }
}

/**
 * @param {string} tree
 * @param {NodeJS.ProcessEnv} env
 */
function missesLibraries(tree, env) {
  const found = unpackedSoftHsm(tree, env);
  if (!found?.CHANCERY_PKCS11_MODULE) return false;
  const run = spawnSync("ldd", [found.CHANCERY_PKCS11_MODULE], { env: { ...env, ...found }, encoding: "utf8" });
  return run.status === 0 && run.stdout.includes("not found");
}

/**
 * Names of the packages that a package file depends on; of alternatives the first.
 * @param {string} file
 * @param {NodeJS.ProcessEnv} env
 */
function dependencies(file, env) {
  const run = spawnSync("dpkg-deb", ["-f", file, "Depends"], { env, encoding: "utf8" });
  return (run.stdout ?? "").split(",").flatMap((entry) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(entry)?.[1] ?? []);
}

/**
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 */
function isPackageInstalled(name, env) {
  const run = spawnSync("dpkg-query", ["-W", "-f", "${db:Status-Status}", name], { env, encoding: "utf8" });
  return run.status === 0 && run.stdout.startsWith("installed");
}

/**
 * Directories of `tree` with libraries other than the module's own.
 * @param {string} tree
 */
function libraryDirectories(tree) {
  return ["lib", "usr/lib"]
    .map((directory) => join(tree, directory))
    .filter((directory) => existsSync(directory))
    .flatMap((directory) =>
      readdirSync(directory, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? join(directory, entry.name) : [])),
    )
    .filter((directory) => readdirSync(directory).some((name) => /\.so(\.|$)/.test(name)) && !directory.endsWith("/softhsm"));
}

/**
 * @param {string[]} directories
 * @param {NodeJS.ProcessEnv} env
 */
function searchPath(directories, env) {
  const given = env.LD_LIBRARY_PATH ? env.LD_LIBRARY_PATH.split(delimiter) : [];
  return [...new Set([...directories.map((directory) => resolve(directory)), ...given])].join(delimiter);
}

/** @param {string | undefined} text */
function firstLine(text) {
  return text?.trim().split("\n")[0] || "no message";
}
