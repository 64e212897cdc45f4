/** How much waits, and runs, at once. */
export type FairLimits = {
  /** Items of one tenant that run, and of all. */
  readonly runningPerTenant: number;
  readonly running: number;
  /** Items of one tenant that wait, and of all. */
  readonly waitingPerTenant: number;
  readonly waiting: number;
};

/**
 * Items that wait for their turn. Tenants take turns, so that one with a thousand items delays another by one item, not by a thousand;
 * within a tenant the first come is the first served.
 */
export class FairQueue<Item> {
  readonly #limits: FairLimits;
  /** Tenants with items that wait; the one whose turn is next first. */
  readonly #waiting = new Map<string, Set<Item>>();
  readonly #running = new Map<string, number>();
  #waitingInAll = 0;
  #runningInAll = 0;

  constructor(limits: FairLimits) {
    this.#limits = limits;
  }

  get waiting(): number {
    return this.#waitingInAll;
  }

  get running(): number {
    return this.#runningInAll;
  }

  /** False when too much waits already: then the item is not in it. */
  add(tenant: string, item: Item): boolean {
    const own = this.#waiting.get(tenant) ?? new Set();
    if (own.size >= this.#limits.waitingPerTenant || this.#waitingInAll >= this.#limits.waiting) return false;
    this.#waiting.set(tenant, own.add(item));
    this.#waitingInAll += 1;
    return true;
  }

  /** The next item that may run now, which then runs until `finished` is told; undefined when none may. */
  next(): Item | undefined {
    if (this.#runningInAll >= this.#limits.running) return undefined;
    for (const [tenant, own] of this.#waiting) {
      const running = this.#running.get(tenant) ?? 0;
      const [item] = own;
      if (item === undefined || running >= this.#limits.runningPerTenant) continue;
      this.remove(tenant, item);
      // Behind all others that wait.
      if (this.#waiting.delete(tenant) && own.size > 0) this.#waiting.set(tenant, own);
      this.#running.set(tenant, running + 1);
      this.#runningInAll += 1;
      return item;
    }
    return undefined;
  }

  /** An item of the tenant that was given by `next` does not run any more. */
  finished(tenant: string): void {
    const running = (this.#running.get(tenant) ?? 1) - 1;
    if (running === 0) this.#running.delete(tenant);
    else this.#running.set(tenant, running);
    this.#runningInAll -= 1;
  }

  /** Takes an item out of its turn; false when it does not wait. */
  remove(tenant: string, item: Item): boolean {
    const own = this.#waiting.get(tenant);
    if (!own?.delete(item)) return false;
    if (own.size === 0) this.#waiting.delete(tenant);
    this.#waitingInAll -= 1;
    return true;
  }
}
