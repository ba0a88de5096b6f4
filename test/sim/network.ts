/** Who reaches whom. The API server and each machine are places; a cut is one-way, so that half-open links happen, too. */
import type { Network as Wires, StorageKernel } from './kernel/types.ts';
import type { Dice } from './random.ts';

/** The place of the API server. */
export const API = 'api';

export interface Network extends Wires {
  cut(from: string, to: string): void;
  heal(from: string, to: string): void;
  healAll(): void;
  /** A place that is off answers nobody. */
  setOn(place: string, on: boolean): void;
  /** A link becomes slow, by that much on average; 0: as fast as the others. */
  slow(from: string, to: string, ms: number): void;
  /** Says which machine has an address. */
  register(ip: string, machine: StorageKernel): void;
}

export function createNetwork(dice: Dice): Network {
  const cuts = new Set<string>();
  const off = new Set<string>();
  const slow = new Map<string, number>();
  const machines = new Map<string, StorageKernel>();
  const link = (from: string, to: string): string => `${from}>${to}`;
  return {
    reachable: (from, to) =>
      (off.size === 0 || (!off.has(from) && !off.has(to))) && (cuts.size === 0 || !cuts.has(link(from, to))),
    delayMs: (from, to) =>
      0.1 + 0.4 * dice.fraction() + (slow.size === 0 ? 0 : (slow.get(link(from, to)) ?? 0) * 2 * dice.fraction()),
    storageAt: (ip) => machines.get(ip),
    cut: (from, to) => void cuts.add(link(from, to)),
    heal: (from, to) => void cuts.delete(link(from, to)),
    healAll: () => {
      cuts.clear();
      slow.clear();
    },
    setOn: (place, on) => void (on ? off.delete(place) : off.add(place)),
    slow: (from, to, ms) => void (ms === 0 ? slow.delete(link(from, to)) : slow.set(link(from, to), ms)),
    register: (ip, machine) => void machines.set(ip, machine),
  };
}
