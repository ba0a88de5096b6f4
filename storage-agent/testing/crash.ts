/** The program was killed at this point; no code of it runs any more. */
export class Killed extends Error {
  override readonly name = 'Killed';
}

/** Counts effects and kills the program before or after a chosen one. */
export class Killer {
  effects: string[] = [];
  private at: number | undefined;
  private when: 'before' | 'after' = 'before';
  /** Killed, and not started again: whatever the program's code still does has no effect any more. */
  isDead = false;

  /** Arms it: the `index`-th effect from now on (from 0) kills. */
  arm(index: number, when: 'before' | 'after'): void {
    this.effects = [];
    this.at = index;
    this.when = when;
  }

  /** The program is started again, and nobody kills it. */
  disarm(): void {
    this.at = undefined;
    this.isDead = false;
  }

  /** Runs one effect, unless the program dies first. */
  effect(name: string, change: () => void): Promise<void> {
    const index = this.effects.push(name) - 1;
    const isHere = this.at === index;
    try {
      if (this.isDead) throw new Killed('long before');
      this.isDead = isHere;
      if (isHere && this.when === 'before') throw new Killed(`before ${name}`);
      change();
      if (isHere) throw new Killed(`after ${name}`);
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
