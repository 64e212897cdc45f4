/**
 * Gives whatever is posted within one turn of the event loop to `send` at once, in order: a message between processes costs as much as
 * several frames in it.
 */
export function outbox<Frame>(send: (frames: readonly Frame[]) => void): (frame: Frame) => void {
  let posted: Frame[] = [];
  return (frame) => {
    if (posted.push(frame) > 1) return;
    setImmediate(() => {
      const frames = posted;
      posted = [];
      send(frames);
    });
  };
}
