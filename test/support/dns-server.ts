import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";

import { decode, encode, TRUNCATED_RESPONSE, type Answer, type Question } from "dns-packet";

/** What the server does with a question: answers it, answers with octets of the test's own, or (undefined) leaves it unanswered. */
export type DnsScript = (question: AskedQuestion) => DnsReply | undefined;

export type AskedQuestion = {
  /** The name in lower case, and as it was sent. */
  readonly name: string;
  readonly sentName: string;
  readonly type: Question["type"];
  readonly over: "udp" | "tcp";
  /** The whole query. */
  readonly query: Buffer;
  /** How many queries came before this one. */
  readonly index: number;
};

export type DnsReply =
  | { readonly answers: readonly Answer[]; readonly rcode?: number; readonly truncated?: boolean }
  /** Sent one after the other, as they are. */
  | { readonly messages: readonly Uint8Array[] };

export type DnsServer = AsyncDisposable & {
  /** `ADDRESS:PORT`, as the validator is told of it. */
  readonly text: string;
  /** Every question that came, in order. */
  readonly asked: readonly AskedQuestion[];
  /** What is done from now on. */
  script: DnsScript;
};

/** A DNS server on loopback, UDP and TCP on one port, that answers as the script says. */
export async function startDnsServer(script: DnsScript): Promise<DnsServer> {
  const asked: AskedQuestion[] = [];
  const udp = createSocket("udp4");
  const connections = new Set<Socket>();
  const tcp = createServer((socket) => {
    connections.add(socket.on("error", () => {}).on("close", () => connections.delete(socket)));
    socket.on("data", (data: Buffer) => {
      for (const message of reply(data.subarray(2), "tcp"))
        socket.write(Buffer.concat([Uint8Array.of(message.length >> 8, message.length & 0xff), message]));
    });
  });
  udp.on("message", (query, peer) => {
    for (const message of reply(query, "udp")) udp.send(message, peer.port, peer.address);
  });
  const port = await listen(udp, tcp);
  const server = {
    text: `127.0.0.1:${port}`,
    asked,
    script,
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      await Promise.all([new Promise((resolve) => udp.close(() => resolve(undefined))), new Promise((resolve) => tcp.close(resolve))]);
    },
  };
  return server;

  function reply(query: Buffer, over: "udp" | "tcp"): readonly Uint8Array[] {
    const [question] = decode(query).questions ?? [];
    if (!question) return [];
    const one = { name: question.name.toLowerCase(), sentName: question.name, type: question.type, over, query, index: asked.length };
    asked.push(one);
    const replied = server.script(one);
    if (!replied) return [];
    return "messages" in replied ? replied.messages : [responseTo(one, replied)];
  }
}

/** The octets of a well formed answer to a question. */
export function responseTo(
  { query, sentName, type }: AskedQuestion,
  { answers, rcode = 0, truncated = false }: Extract<DnsReply, { answers: unknown }>,
): Buffer {
  return encode({
    type: "response",
    id: query.readUInt16BE(0),
    flags: rcode | (truncated ? TRUNCATED_RESPONSE : 0),
    questions: [{ name: sentName, type }],
    answers: [...answers],
  });
}

/** A script over a table: names to their records by type; names that are not in it do not exist. */
export function zone(
  names: Readonly<Record<string, Readonly<Partial<Record<"A" | "AAAA" | "CNAME" | "TXT", readonly string[]>>>>>,
): DnsScript {
  return ({ name, type }) => {
    const records = names[name];
    if (!records) return { answers: [], rcode: 3 };
    const kinds = (["A", "AAAA", "TXT", "CNAME"] as const).filter((kind) => kind === type || kind === "CNAME");
    return { answers: kinds.flatMap((kind) => (records[kind] ?? []).map((data) => record(kind, name, data))) };
  };
}

function record(type: "A" | "AAAA" | "CNAME" | "TXT", name: string, data: string): Answer {
  return type === "TXT" ? { type, name, data: [Buffer.from(data)] } : { type, name, data };
}

/** One port for both; another one when TCP has it already. */
async function listen(udp: ReturnType<typeof createSocket>, tcp: ReturnType<typeof createServer>): Promise<number> {
  for (;;) {
    tcp.listen(0, "127.0.0.1");
    await once(tcp, "listening");
    const address = tcp.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const bound = await new Promise<boolean>((resolve) => {
      udp.once("error", () => resolve(false));
      udp.bind(port, "127.0.0.1", () => resolve(true));
    });
    if (bound) return port;
    await new Promise((resolve) => tcp.close(resolve));
  }
}
