import { arrayStatePath, hasErred, memberStatePath, parseWords } from '../../../lib/host/md.ts';
import { controllerStatePath } from '../../../lib/host/nvme.ts';
import {
  blockStatPath,
  parseBlockStat,
  type BlockStat,
  type HeldAttribute,
  type Sysfs,
} from '../../../lib/host/sysfs.ts';
import type { LegFacts } from './facts.ts';
import type { LegTracker } from './tracker.ts';

/** What md's array_state says while nothing waits for the agent. */
const AT_EASE = new Set<string | undefined>(['active', 'active-idle', 'clean']);

/**
 * `Unsure`: I/O is in a valve and not below it, which is common for a moment, and is how it stays after an error of the path.
 * The next glance tells.
 */
export type Calm = 'Calm' | 'Unsure' | 'Gone';

interface Leg {
  readonly tracker: LegTracker;
  readonly controllerState: HeldAttribute;
  readonly memberState: HeldAttribute;
  readonly namespaceStat: HeldAttribute;
  readonly valveStat: HeldAttribute;
}

/**
 * A glance at a volume that was calm when it was last looked at in full: the array's state, and of each leg the
 * controller's state, what md says of the member, and whether I/O gets through. These files stay open, so that watching a
 * calm volume costs a few system calls; anything unusual asks for a full look, which decides.
 */
export class Glance {
  private readonly arrayState: HeldAttribute;
  private readonly legs: readonly Leg[];
  private readonly watches: readonly (() => void)[];

  /**
   * @param array the array's name
   * @param legs as the full look saw them: each is a live member behind its valve
   * @param tracker of the leg with that NQN
   * @param changed called when md says by itself that something happened, which spares the wait for the next glance
   */
  constructor(
    array: string,
    legs: readonly LegFacts[],
    tracker: (nqn: string) => LegTracker,
    sysfs: Pick<Sysfs, 'open' | 'watch'>,
    changed: () => void,
  ) {
    const open = (path: string): HeldAttribute => sysfs.open(path);
    this.arrayState = open(arrayStatePath(array));
    this.legs = legs.map(({ nqn, controller, namespace, valve, member }) => ({
      tracker: tracker(nqn),
      controllerState: open(controllerStatePath(controller?.name ?? '')),
      memberState: open(memberStatePath(array, member?.device ?? '')),
      namespaceStat: open(blockStatPath(namespace?.name ?? '')),
      valveStat: open(blockStatPath(valve?.device ?? '')),
    }));
    const members = legs.map(({ member }) => memberStatePath(array, member?.device ?? ''));
    this.watches = [arrayStatePath(array), ...members].map((path) => sysfs.watch(path, changed));
  }

  /** How all is, compared with how calm it was. */
  look(nowMs: number): Calm {
    const array = AT_EASE.has(this.arrayState.read()) ? 'Calm' : 'Gone';
    const found = [array, ...this.legs.map((leg) => calmOf(leg, nowMs))];
    return found.includes('Gone') ? 'Gone' : found.includes('Unsure') ? 'Unsure' : 'Calm';
  }

  close(): void {
    for (const end of this.watches) end();
    const files = this.legs.flatMap((leg) => [leg.controllerState, leg.memberState, leg.namespaceStat, leg.valveStat]);
    for (const file of [this.arrayState, ...files]) file.close();
  }
}

function calmOf({ tracker, controllerState, memberState, namespaceStat, valveStat }: Leg, nowMs: number): Calm {
  const live = controllerState.read() === 'live';
  const waiting = parse(valveStat.read())?.inFlight ?? 0;
  const stat = parse(namespaceStat.read());
  const ended = tracker.sample({ live, stat }, nowMs);
  const words = parseWords(memberState.read() ?? '');
  const belongs = words.has('in_sync') && !hasErred({ state: words });
  if (!live || !belongs || isHeldBack(waiting, stat, ended) || tracker.quietMs(nowMs) > 0) return 'Gone';
  return waiting > 0 && stat?.inFlight === 0 ? 'Unsure' : 'Calm';
}

/**
 * Whether I/O waits in a valve while its namespace has none and ended none: the valve has given its path up.
 * @param waiting I/Os under way in the valve, read before the namespace's counters
 * @param ended I/Os of the namespace that ended since the last look
 */
export function isHeldBack(waiting: number, stat: BlockStat | undefined, ended: number): boolean {
  return waiting > 0 && stat?.inFlight === 0 && ended === 0;
}

const parse = (text: string | undefined): BlockStat | undefined =>
  text === undefined ? undefined : parseBlockStat(text);
