// Takes acme-client over its abilities. What it is told, and what it tells, is described in conformance/go/acme/main.go.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { once } from "node:events";

const [from = ""] = process.argv.slice(2);
// The package lies outside the checkout, and its types with it.
const acme = createRequire(from)("acme-client");
const told = process.env;
const directoryUrl = told.ACME_DIRECTORY ?? "";
const name = (/** @type {string} */ label) => `${label}.${told.ACME_SUFFIX}`;

/** @type {Map<string, string>} */
const answers = new Map();
const server = createServer((request, response) => response.end(answers.get(request.url ?? "")));
server.listen(80, told.ACME_ADDRESS);
await once(server, "listening");

const client = new acme.Client({ directoryUrl, accountKey: await acme.crypto.createPrivateEcdsaKey() });

/**
 * @param {string} ability
 * @param {() => Promise<{ certificate: string; names: string[] } | undefined>} act
 */
async function can(ability, act) {
  if (!told.ACME_ABILITIES?.split(",").includes(ability)) return;
  /** @type {Record<string, unknown>} */
  const outcome = { ability };
  try {
    Object.assign(outcome, await act());
  } catch (error) {
    outcome.complaint = error instanceof Error ? error.message : String(error);
  }
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}

/**
 * @typedef {{ identifier: { value: string } }} Authorization
 * @typedef {{ token: string; type: string }} Challenge
 *
 * @param {string} challenge
 * @param {string} label
 * @param {string[]} names
 */
async function issue(challenge, label, names) {
  const [, csr] = await acme.crypto.createCsr({ altNames: names }, await acme.crypto.createPrivateEcdsaKey());
  const chain = await client.auto({
    csr,
    termsOfServiceAgreed: true,
    challengePriority: [challenge],
    // Its own look at the challenge resolves names otherwise than the server does.
    skipChallengeVerification: true,
    challengeCreateFn: async (
      /** @type {Authorization} */ authorization,
      /** @type {Challenge} */ { token, type },
      /** @type {string} */ value,
    ) => {
      if (type === "http-01") answers.set(`/.well-known/acme-challenge/${token}`, value);
      else dns("add", authorization.identifier.value, value);
    },
    challengeRemoveFn: async (
      /** @type {Authorization} */ authorization,
      /** @type {Challenge} */ { type },
      /** @type {string} */ value,
    ) => {
      if (type === "dns-01") dns("remove", authorization.identifier.value, value);
    },
  });
  writeFileSync(`${label}.pem`, chain);
  return { certificate: `${label}.pem`, names };
}

/**
 * @param {string} action
 * @param {string} identifier
 * @param {string} value
 */
function dns(action, identifier, value) {
  execFileSync(told.ACME_DNS_HOOK ?? "", [action, `_acme-challenge.${identifier}`, value]);
}

await can("register", async () => void (await client.createAccount({ termsOfServiceAgreed: true, contact: ["mailto:npm@acme.test"] })));
await can("EAB", async () => {
  const externalAccountBinding = { kid: told.ACME_EAB_KID ?? "", hmacKey: told.ACME_EAB_KEY ?? "" };
  const bound = new acme.Client({ directoryUrl, accountKey: await acme.crypto.createPrivateEcdsaKey(), externalAccountBinding });
  await bound.createAccount({ termsOfServiceAgreed: true });
  return undefined;
});
await can("http-01", () => issue("http-01", "http", [name("http")]));
await can("several names", () => issue("http-01", "several", ["a", "b", "c"].map(name)));
await can("dns-01", () => issue("dns-01", "dns", [name("dns")]));
await can("wildcard", () => issue("dns-01", "wildcard", [`*.${name("wild")}`, name("wild")]));
await can("key roll-over", async () => {
  await client.updateAccountKey(await acme.crypto.createPrivateEcdsaKey());
  return await issue("http-01", "rolled", [name("rolled")]);
});
await can("revoke", async () => void (await client.revokeCertificate(readFileSync("http.pem"))));
await can("deactivate", async () => void (await client.updateAccount({ status: "deactivated" })));

server.closeAllConnections();
server.close();
