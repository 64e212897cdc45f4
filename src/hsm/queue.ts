import type { Priority } from "../ports/hsm.ts";

/** Order of service: what relying parties wait for, then what subscribers wait for, then what can wait. */
const order: readonly Priority[] = ["status", "issue", "background"];

/** A bounded queue of three classes. Within a class the first come is the first served. */
export class PriorityQueue<Item> {
  readonly #limit: number;
  readonly #waiting: Readonly<Record<Priority, Set<Item>>> = { status: new Set(), issue: new Set(), background: new Set() };

  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return order.reduce((sum, priority) => sum + this.#waiting[priority].size, 0);
  }

  /** False when the queue is full: then the item is not in it. */
  add(item: Item, priority: Priority): boolean {
    if (this.length >= this.#limit) return false;
    this.#waiting[priority].add(item);
    return true;
  }

  /** Puts an item that was served without success before all others of its class, whatever the limit. */
  addFirst(item: Item, priority: Priority): void {
    const others = [...this.#waiting[priority]];
    this.#waiting[priority].clear();
    for (const each of [item, ...others]) this.#waiting[priority].add(each);
  }

  /** The next item, taken out; undefined when nothing waits. */
  next(): Item | undefined {
    for (const priority of order) {
      for (const item of this.#waiting[priority]) {
        this.#waiting[priority].delete(item);
        return item;
      }
    }
    return undefined;
  }

  /** Takes an item out of its turn; nothing happens when it is not waiting. */
  remove(item: Item): void {
    for (const priority of order) this.#waiting[priority].delete(item);
  }

  /** Takes out everything that waits. */
  drain(): Item[] {
    const items = order.flatMap((priority) => [...this.#waiting[priority]]);
    for (const priority of order) this.#waiting[priority].clear();
    return items;
  }
}
