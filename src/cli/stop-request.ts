const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** One Ctrl-C reaches us from the terminal, and again from each process above us that passes it on: within this time it is one request. */
const oneRequestMs = 1000;

/** Resolves when the process is asked to stop. After that a further signal has its default effect: it ends the process at once. */
export function stopRequest(): Promise<void> {
  return new Promise((resolve) => {
    const ask = () => {
      resolve();
      setTimeout(() => signals.forEach((signal) => process.off(signal, ask)), oneRequestMs).unref();
    };
    signals.forEach((signal) => process.on(signal, ask));
  });
}
