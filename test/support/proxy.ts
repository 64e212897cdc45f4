import { connect, createServer, type Server, type Socket } from "node:net";
import { parseDatabaseUrl } from "../../src/database/address.ts";

/** What stands between a client and its PostgreSQL server, and does harm when asked to. */
export type DatabaseProxy = AsyncDisposable & {
  /** The URI to connect to, over TCP. */
  readonly url: string;
  /** Cuts every connection now; new ones are served. */
  cut(): void;
  /** From now on cuts every connection and refuses new ones, as a machine without a server does. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** While on, nothing is forwarded either way and nothing is closed: packets that no one answers. Bytes kept back are lost when a connection ends. */
  blackHole(on: boolean): void;
  /** Delay of each direction, in milliseconds. */
  latency(milliseconds: number): void;
  /**
   * The next time a statement that matches is sent, the connection is cut: `before` the server sees it, or `after` it has run and committed it but
   * before the client hears so. Several can be asked for; each is used once.
   */
  cutAt(statement: RegExp, when: "before" | "after"): void;
  /** How many connections were cut by `cutAt`. */
  cuts(): number;
  /** How many connections of clients stand. */
  connections(): number;
};

/** A proxy on a loopback port in front of the server of `url`. */
export async function startProxy(url: string): Promise<DatabaseProxy> {
  const { host, port, user, database } = parseDatabaseUrl(url);
  const upstream = host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
  const pairs = new Set<Pair>();
  const traps: Trap[] = [];
  const state: State = { traps, holding: false, latencyMs: 0, cuts: 0 };

  const server = createServer((client) => {
    const pair = new Pair(client, connect(upstream), state);
    pairs.add(pair);
    client.on("close", () => pairs.delete(pair));
  });
  const own = await listen(server, 0);
  const cut = (): void => {
    for (const pair of pairs) pair.cut();
  };
  const down = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    cut();
    await closed;
  };

  return {
    url: `postgresql:///${database}?host=127.0.0.1&port=${own}&user=${user}`,
    cut,
    down,
    up: async () => void (await listen(server, own)),
    blackHole(on) {
      state.holding = on;
      if (!on) for (const pair of pairs) pair.release();
    },
    latency(milliseconds) {
      state.latencyMs = milliseconds;
    },
    cutAt: (statement, when) => void traps.push({ statement, when }),
    cuts: () => state.cuts,
    connections: () => pairs.size,
    async [Symbol.asyncDispose]() {
      if (server.listening) await down();
    },
  };
}

type Trap = { readonly statement: RegExp; readonly when: "before" | "after" };
type State = { readonly traps: Trap[]; holding: boolean; latencyMs: number; cuts: number };

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve());
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return address.port;
}

/** One connection of a client and its counterpart. Knows of the protocol what `cutAt` needs (PostgreSQL 18, 54.7 Message Formats). */
class Pair {
  private readonly client: Socket;
  private readonly server: Socket;
  private readonly state: State;
  private readonly statements = new Map<string, string>();
  private fromClient = Buffer.alloc(0);
  private fromServer = Buffer.alloc(0);
  private held: (() => void)[] = [];
  private started = false;
  /** Set when a trap sprang `after`: the next ReadyForQuery of the server ends the connection. */
  private ending = false;

  constructor(client: Socket, server: Socket, state: State) {
    this.client = client;
    this.server = server;
    this.state = state;
    for (const socket of [client, server]) {
      socket.on("error", () => this.cut());
      socket.on("close", () => this.whenFlowing(() => this.cut()));
    }
    client.on("data", (bytes) => this.whenFlowing(() => this.takeFromClient(bytes)));
    server.on("data", (bytes) => this.whenFlowing(() => this.takeFromServer(bytes)));
  }

  cut(): void {
    this.client.destroy();
    this.server.destroy();
  }

  release(): void {
    // Packets of a connection that has ended meanwhile are never sent again.
    if (this.client.destroyed || this.server.destroyed) return this.cut();
    for (const act of this.held.splice(0)) act();
  }

  private whenFlowing(act: () => void): void {
    const later = (): void => void (this.state.holding || this.held.length > 0 ? this.held.push(act) : act());
    if (this.state.latencyMs > 0) setTimeout(later, this.state.latencyMs);
    else later();
  }

  private takeFromClient(bytes: Buffer): void {
    this.fromClient = Buffer.concat([this.fromClient, bytes]);
    // The first message has no type byte.
    for (let offset = this.started ? 1 : 0; this.fromClient.length >= offset + 4; offset = 1) {
      const length = offset + this.fromClient.readUInt32BE(offset);
      if (this.fromClient.length < length) return;
      const message = this.fromClient.subarray(0, length);
      this.fromClient = this.fromClient.subarray(length);
      const trap = this.started ? this.trapFor(message) : undefined;
      this.started = true;
      if (trap?.when === "before") return this.cut();
      if (trap) this.ending = true;
      this.server.write(message);
    }
  }

  private takeFromServer(bytes: Buffer): void {
    if (!this.ending) return void this.client.write(bytes);
    this.fromServer = Buffer.concat([this.fromServer, bytes]);
    while (this.fromServer.length >= 5) {
      const length = 1 + this.fromServer.readUInt32BE(1);
      if (this.fromServer.length < length) return;
      if (this.fromServer.subarray(0, 1).toString() === "Z") return this.cut();
      this.fromServer = this.fromServer.subarray(length);
    }
  }

  private trapFor(message: Buffer): Trap | undefined {
    const text = this.statementOf(message);
    const index = text === undefined ? -1 : this.state.traps.findIndex(({ statement }) => statement.test(text));
    if (index < 0) return undefined;
    this.state.cuts += 1;
    return this.state.traps.splice(index, 1)[0];
  }

  /** The statement that a message runs: Query has its text, Bind the name that an earlier Parse gave it. */
  private statementOf(message: Buffer): string | undefined {
    const [first = "", second = ""] = message.subarray(5).toString("latin1").split("\0", 2);
    switch (message.subarray(0, 1).toString()) {
      case "Q":
        return first;
      case "P":
        this.statements.set(first, second);
        return undefined;
      case "B":
        return this.statements.get(second);
      default:
        return undefined;
    }
  }
}
