import { sleep, systemClock, type Clock } from '../clock.ts';
import { describeError } from '../describe-error.ts';
import type { Logger } from '../log.ts';
import type { Resource } from './client.ts';
import { KubeError } from './error.ts';
import type { Lease } from './kinds.ts';
import { microTime } from './time.ts';

const RELEASE_ATTEMPTS = 3;

export interface LeaderElectionOptions {
  readonly leases: Resource<Lease>;
  readonly name: string;
  /** Different for each candidate, also for two runs of one program. */
  readonly identity: string;
  /** Others wait this long, since they saw the last renewal, before they take the lead. */
  readonly leaseDurationMs: number;
  /** A leader that can't renew for this long gives up; must be less than the lease duration. */
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
  /**
   * The leader's work. The signal is aborted when the lead is lost or the program stops; the work must then end, and only
   * when its promise has settled is the lead sought again or given away.
   */
  readonly onStarted: (signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: () => number;
}

export interface LeaderElection {
  /** Ends the work, then gives the lead away so that another candidate need not wait. */
  stop(): Promise<void>;
}

/** What a candidate has seen of the Lease, by its own clock. */
interface Observed {
  readonly lease: Lease;
  readonly sinceMs: number;
}

/** Takes part in an election for as long as it runs: waits, leads, and after a loss waits again. */
export function runWithLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const { leases, name, identity, leaseDurationMs, renewDeadlineMs, retryPeriodMs, log } = options;
  const { clock = systemClock, random = Math.random } = options;
  if (!(renewDeadlineMs < leaseDurationMs && retryPeriodMs < renewDeadlineMs)) {
    throw new TypeError('leader election needs retryPeriodMs < renewDeadlineMs < leaseDurationMs');
  }
  const stopping = new AbortController();
  let observed: Observed | undefined;

  function observe(lease: Lease): Observed {
    const same = observed && observed.lease.metadata.resourceVersion === lease.metadata.resourceVersion;
    observed = same && observed ? observed : { lease, sinceMs: clock.monotonicMs() };
    return observed;
  }

  /** One attempt to take or keep the lead. False when somebody else has it; throws KubeError when nobody knows. */
  async function tryLead(): Promise<boolean> {
    const nowMs = clock.monotonicMs();
    const timeoutMs = renewDeadlineMs;
    const ours = {
      holderIdentity: identity,
      leaseDurationSeconds: Math.max(1, Math.ceil(leaseDurationMs / 1000)),
      renewTime: microTime(clock.now()),
    };
    const current = await leases.get(name, { timeoutMs });
    if (!current) {
      const created = { metadata: { name }, spec: { ...ours, acquireTime: ours.renewTime, leaseTransitions: 0 } };
      observe(await leases.create(created, { timeoutMs }));
      return true;
    }
    const { lease, sinceMs } = observe(current);
    const { holderIdentity = '', acquireTime, leaseTransitions = 0, leaseDurationSeconds } = lease.spec ?? {};
    const isOurs = holderIdentity === identity;
    // The holder's own duration counts: it may have been started with another one than we.
    const validMs = leaseDurationSeconds === undefined ? leaseDurationMs : leaseDurationSeconds * 1000;
    if (!isOurs && holderIdentity !== '' && nowMs - sinceMs < validMs) return false;
    const spec = isOurs
      ? { ...ours, acquireTime: acquireTime ?? ours.renewTime, leaseTransitions }
      : { ...ours, acquireTime: ours.renewTime, leaseTransitions: leaseTransitions + 1 };
    observe(await leases.replace({ ...lease, spec }, { timeoutMs }));
    return true;
  }

  async function pause(): Promise<void> {
    await sleep(clock, retryPeriodMs * (1 + 0.2 * random()), stopping.signal);
  }

  async function acquire(): Promise<boolean> {
    let waiting = '';
    while (!stopping.signal.aborted) {
      try {
        if (await tryLead()) return true;
        const holder = observed?.lease.spec?.holderIdentity ?? '';
        if (holder !== waiting) log.info('waiting to lead', { lease: name, holder });
        waiting = holder;
      } catch (error) {
        const lostRace = error instanceof KubeError && (error.isConflict || error.isAlreadyExists);
        if (!lostRace) log.warn('the lease could not be taken', { lease: name, error: describeError(error) });
      }
      await pause();
    }
    return false;
  }

  /** Renews until it can't or may not any more. */
  async function keep(ended: AbortSignal): Promise<'lost' | 'ended'> {
    let renewedMs = clock.monotonicMs();
    for (;;) {
      await sleep(clock, retryPeriodMs, ended);
      if (ended.aborted) return 'ended';
      const startedMs = clock.monotonicMs();
      const renewal = tryLead();
      // The deadline holds even while a request hangs.
      const remainingMs = Math.max(0, renewedMs + renewDeadlineMs - startedMs);
      const result = await Promise.race([
        renewal.catch((error: unknown) => {
          log.warn('the lead could not be renewed', { lease: name, error: describeError(error) });
          return undefined;
        }),
        sleep(clock, remainingMs, ended).then(() => undefined),
      ]);
      if (result === true) renewedMs = startedMs;
      else if (result === false) return 'lost';
      if (ended.aborted) return 'ended';
      if (clock.monotonicMs() - renewedMs >= renewDeadlineMs) return 'lost';
    }
  }

  async function lead(): Promise<void> {
    log.info('leading', { lease: name, identity });
    const term = new AbortController();
    const endTerm = (): void => term.abort();
    stopping.signal.addEventListener('abort', endTerm, { once: true });
    // Renewals go on until the work has ended, even after stop: nobody else may begin before.
    const done = new AbortController();
    const work = options
      .onStarted(term.signal)
      .catch((error: unknown) =>
        log.error('the work of the leader failed', { lease: name, error: describeError(error) }),
      )
      .finally(() => done.abort());
    const how = await keep(done.signal);
    if (how === 'lost') log.warn('the lead is lost', { lease: name, identity });
    term.abort();
    await work;
    stopping.signal.removeEventListener('abort', endTerm);
    if (how === 'ended') await release();
  }

  /** A renewal that was under way may come between the look and the release: then it looks again. */
  async function release(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const current = await leases.get(name);
        if (current?.spec?.holderIdentity !== identity) return;
        await leases.replace({
          ...current,
          spec: { ...current.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(clock.now()) },
        });
        return;
      } catch (error) {
        if (error instanceof KubeError && error.isConflict && attempt < RELEASE_ATTEMPTS) continue;
        log.warn('the lead could not be given away; it will lapse', { lease: name, error: describeError(error) });
        return;
      }
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      if (await acquire()) await lead();
      if (!stopping.signal.aborted) await pause();
    }
  }

  const running = run();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
