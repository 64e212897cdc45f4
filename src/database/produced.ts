/**
 * What `produce` puts, one after the other, as fast as it is taken: so what is read in a transaction can be iterated over from outside of it.
 * An error of either side ends the other; `produce` has ended when the iteration has.
 */
export async function* produced<Value>(produce: (put: (value: Value) => Promise<void>) => Promise<void>): AsyncGenerator<Value, undefined> {
  const { readable, writable } = new TransformStream<Value, Value>();
  const writer = writable.getWriter();
  const done = produce((value) => writer.write(value)).then(
    () => writer.close(),
    (cause: unknown) => writer.abort(cause),
  );
  // Whoever iterates is told by the stream itself.
  done.catch(() => {});
  try {
    yield* readable;
  } finally {
    await done.catch(() => {});
  }
}
