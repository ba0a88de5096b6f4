import { stampOf } from '../../../lib/api/record-stamp.ts';
import type { ExecuteContext } from './context.ts';
import { knowsBetter, readLegHeader } from './leg-records.ts';
import type { OutOfSync } from './record.ts';

/*
 * The record says of a leg that is away whether the running array's bitmap knows all that it lacks. An API server that was restored
 * from a backup says so of another time: since then all legs may have been in sync, and the bitmap cleared.
 */

/** Whether no leg knows a later record than the API server. Any that is in sync would, as each change of the record is written to it. */
export async function isRecordCurrent(context: ExecuteContext): Promise<boolean> {
  const { facts, memory, volume } = context;
  const source = facts.legs.find((leg) => leg.recorded && leg.member?.state.has('in_sync') && leg.valve);
  if (!source?.valve) return false;
  const decoded = await readLegHeader(context, source.valve.device);
  return decoded.state === 'record' && !knowsBetter(decoded.header, stampOf(volume.status ?? {}), memory);
}

/** The same legs are away, and the bitmap is said to know of none of them. */
export function withoutClaims(outOfSync: Readonly<Record<string, OutOfSync>>): Readonly<Record<string, OutOfSync>> {
  return Object.fromEntries(
    Object.entries(outOfSync).map(([name, entry]) => [name, { ...entry, bootId: null, nqn: null }]),
  );
}
