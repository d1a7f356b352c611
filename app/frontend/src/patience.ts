/** Waits between attempts that a person, or a network that is back, can cut short. */
export class Patience {
  private readonly waiting = new Set<() => void>();

  readonly wait = (seconds: number): Promise<void> =>
    new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.waiting.delete(end);
        resolve();
      };
      const timer = setTimeout(end, seconds * 1000);
      this.waiting.add(end);
    });

  /** End every wait now. */
  hurry(): void {
    for (const end of [...this.waiting]) end();
  }
}
