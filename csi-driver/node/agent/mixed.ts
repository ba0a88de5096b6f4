import { isMember, record, type ExecuteContext } from './context.ts';
import type { LegFacts } from './facts.ts';

/**
 * A replica that was in sync is a state of the volume, if an old one: should all others be lost, a person may go on from it. Once data
 * is copied to it it is none until the copy has ended. That is recorded before the first block is copied: nobody can see it later.
 * @throws what `record` throws; then nothing is copied yet
 */
export async function recordMixed({ replica }: LegFacts, context: ExecuteContext): Promise<void> {
  const mixedSince = new Date(context.ports.clock.now()).toISOString();
  await record(context, ({ inSync = [], outOfSync = {}, ...status }) => {
    const entry = outOfSync[replica];
    if (entry === undefined || entry.mixedSince !== undefined || !isMember(replica, status)) return undefined;
    return { inSync, outOfSync: { [replica]: { ...entry, mixedSince } } };
  });
}
