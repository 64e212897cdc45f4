import type { Priority } from "../ports/hsm.ts";

/** Order of service: revocation status, its CRLs before its answers, then what subscribers wait for, then what can wait. */
const order: readonly Priority[] = ["crl", "status", "issue", "background"];

/**
 * Items of other classes that are served at most before one of a class that waits is due; whichever is due is served before the order counts
 * again. However many ask for one class, the others go on.
 */
const patience: Readonly<Record<Priority, number>> = { crl: 4, status: 4, issue: 4, background: 32 };

/** A queue of four classes, each with a bound of its own. Within a class the first come is the first served, and no class starves another. */
export class PriorityQueue<Item> {
  readonly #limit: number;
  readonly #waiting: Readonly<Record<Priority, Set<Item>>> = { crl: new Set(), status: new Set(), issue: new Set(), background: new Set() };
  /** Items of other classes that were served while one of this class waited, since one of it was served. */
  readonly #passed: Record<Priority, number> = { crl: 0, status: 0, issue: 0, background: 0 };

  /** @param limit items of one class that wait at most. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return order.reduce((sum, priority) => sum + this.#waiting[priority].size, 0);
  }

  /** False when the class is full: then the item is not in it. */
  add(item: Item, priority: Priority): boolean {
    if (this.#waiting[priority].size >= this.#limit) return false;
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
    const waiting = order.filter((priority) => this.#waiting[priority].size > 0);
    // The last in order of those that are due: it is due seldom, and the others are at most that much later.
    const turn = waiting.findLast((priority) => this.#passed[priority] >= patience[priority]) ?? waiting[0];
    if (turn === undefined) return undefined;
    for (const priority of order) this.#passed[priority] = priority !== turn && waiting.includes(priority) ? this.#passed[priority] + 1 : 0;
    const [item] = this.#waiting[turn];
    if (item !== undefined) this.#waiting[turn].delete(item);
    return item;
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
