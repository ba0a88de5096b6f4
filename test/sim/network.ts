/** Who reaches whom. The API server and each machine are places; a cut is one-way, so that half-open links happen, too. */
export const API = 'api';

export interface Network {
  /** Whether a packet that leaves now arrives. */
  reachable(from: string, to: string): boolean;
  cut(from: string, to: string): void;
  heal(from: string, to: string): void;
  healAll(): void;
  /** A place that is off answers nobody. */
  setOn(place: string, on: boolean): void;
}

export function createNetwork(): Network {
  const cuts = new Set<string>();
  const off = new Set<string>();
  const link = (from: string, to: string): string => `${from}>${to}`;
  return {
    reachable: (from, to) => !off.has(from) && !off.has(to) && (cuts.size === 0 || !cuts.has(link(from, to))),
    cut: (from, to) => void cuts.add(link(from, to)),
    heal: (from, to) => void cuts.delete(link(from, to)),
    healAll: () => cuts.clear(),
    setOn: (place, on) => void (on ? off.delete(place) : off.add(place)),
  };
}
