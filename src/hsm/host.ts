/**
 * The host of one token: the only process that loads its PKCS#11 module. It holds the PIN and no database, no network, no other secret.
 * Started by `host-process.ts`; speaks the frames of `frame.ts` over the channel to its parent.
 */
import type { FrameFromHost, FrameToHost, HostAnswer, HostCall, Message, Opening } from "./frame.ts";
import { HostFailure, OpeningError, ReturnError } from "./host-failure.ts";
import { KeyHandles } from "./key-handle.ts";
import { destroyKey, findKey, generateKey, listKeys, readKey } from "./key-object.ts";
import { openToken } from "./open-token.ts";
import { outbox } from "./outbox.ts";
import { PartStreams } from "./part-stream.ts";
import { sign, signInput } from "./sign.ts";
import type { Signer } from "./sign.ts";

/** Calls that have not been answered: what a lost channel waits for. */
let callsOut = 0;
let signer: Signer | undefined;
let administration = false;
const streams = new PartStreams();
const send = outbox((frames: Message<FrameFromHost>) => {
  if (process.connected) process.send?.(frames);
});

// The parent decides when to end: Ctrl-C reaches the whole process group, and signatures under way must not be lost by it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", leave);
// One token for the whole life of the process: the first frame opens it, and no later one opens another.
process.once("message", ([first, ...others]: Message<FrameToHost>) => {
  if (first?.frame === "open") void open(first.opening);
  for (const frame of others) receive(frame);
  process.on("message", (frames: Message<FrameToHost>) => frames.forEach(receive));
});

function receive(frame: FrameToHost): void {
  if (frame.frame === "call") void serve(frame.id, frame.call);
  else if (frame.frame === "drop") streams.drop(frame.stream);
  else if (frame.frame === "stop") process.disconnect();
}

async function open(opening: Opening): Promise<void> {
  try {
    requireThreads(opening.sessions);
    administration = opening.administration;
    const token = await openToken(opening, (kind, fields) =>
      kind === "sessions"
        ? send({ frame: "event", level: "warn", event: "hsm.sessions.reduced", fields })
        : send({ frame: "event", level: "warn", event: "hsm.pin.refused", fields }),
    );
    signer = { token, handles: new KeyHandles(token), pinned: new Set() };
    send({ frame: "opened", sessions: token.sessions.size, manufacturer: token.manufacturer });
  } catch (error) {
    if (error instanceof OpeningError) send({ frame: "notOpened", failure: error.failure, detail: error.message });
    else if (error instanceof ReturnError) send({ frame: "notOpened", failure: "device", detail: error.message });
    else throw error;
  }
}

/** A call in the thread pool takes a thread until it returns; file and DNS work of the process needs some of its own. */
function requireThreads(sessions: number): void {
  if (Number(process.env["UV_THREADPOOL_SIZE"]) >= sessions + 4) return;
  throw new OpeningError("device", `UV_THREADPOOL_SIZE of the host must be at least ${sessions + 4} for ${sessions} sessions`);
}

async function serve(id: number, call: HostCall): Promise<void> {
  callsOut += 1;
  try {
    if (!signer) throw new HostFailure("device", "the token is not open");
    requireAdministration(call);
    // Parts are taken within this turn, so that a stream has them in the order in which they came.
    send({ frame: "answer", id, answer: await perform(signer, call) });
  } catch (error) {
    send({ frame: "failure", id, ...describe(error) });
  } finally {
    callsOut -= 1;
  }
}

/** Whoever makes calls of a service that signs, by a bug or by a frame slipped in, can neither add a key nor take one away. */
function requireAdministration({ act }: HostCall): void {
  if (administration || (act !== "generate" && act !== "destroy")) return;
  throw new HostFailure("refused", `the token was opened to sign, not to ${act} keys`);
}

function perform(world: Signer, call: HostCall): HostAnswer[HostCall["act"]] | Promise<HostAnswer[HostCall["act"]]> {
  switch (call.act) {
    case "sign":
      return sign(world, call);
    case "part":
      return streams.take(call);
    case "signParts":
      return signInput(world, call, streams.end(call));
    case "generate":
      return generateKey(world.token, call.specification);
    case "read":
      return readKey(world.token, call.ckaId);
    case "find":
      return findKey(world.token, call.ckaId);
    case "list":
      return listKeys(world.token);
    case "destroy":
      world.handles.drop(call.ckaId);
      return destroyKey(world.token, call.ckaId);
    default:
      return call satisfies never;
  }
}

function describe(error: unknown): Pick<Extract<FrameFromHost, { frame: "failure" }>, "failure" | "detail"> {
  if (error instanceof HostFailure) return { failure: error.failure, detail: error.message };
  if (!(error instanceof ReturnError)) return { failure: "fatal", detail: error instanceof Error ? error.message : String(error) };
  // What a new session did not cure, a new host may.
  const failure = error.class === "fatal" || error.class === "pin" ? error.class : "device";
  return { failure, detail: error.message };
}

/** The channel is closed. Nobody waits for an answer any more; a call that does not return would keep this process for ever. */
function leave(): void {
  if (callsOut > 0) setTimeout(() => process.kill(process.pid, "SIGKILL"), 1000).unref();
  else signer?.token.sessions.closeAll();
}
