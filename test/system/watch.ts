import type { ReplicatedVolume, VolumeConnection } from '../../lib/api/index.ts';
import type { System } from './system.ts';

/** One look at a volume from the API and from its client. */
export interface View {
  readonly volume: ReplicatedVolume;
  readonly connection: VolumeConnection | undefined;
  readonly inSync: readonly string[];
}

const LOOK_MS = 300;

export async function look(system: System, name: string): Promise<View> {
  const volume = await system.volumes.get(name);
  if (!volume) throw new Error(`there is no volume ${name}`);
  const node = volume.status?.attachment?.node;
  const connection = node ? await system.connections.get(`${name}.${node}`) : undefined;
  return { volume, connection, inSync: volume.status?.inSync ?? [] };
}

/**
 * Looks at a volume until `done` gives something, and tells what it sees meanwhile.
 * @throws Error with the last view when it takes longer than `timeoutMs`.
 */
export async function watchUntil<T>(
  system: System,
  name: string,
  what: string,
  timeoutMs: number,
  done: (view: View) => T | undefined | false | Promise<T | undefined | false>,
  seen: (view: View) => void = () => undefined,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let view = await look(system, name);
  for (;;) {
    const result = await done(view);
    if (result !== undefined && result !== false) return result;
    if (performance.now() > deadline) {
      const { status } = view.volume;
      const seen = JSON.stringify({
        message: status?.message,
        inSync: status?.inSync,
        connection: view.connection?.status,
      });
      throw new Error(`${what}: not within ${timeoutMs / 1000} s; last seen ${seen}`);
    }
    seen(view);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    view = await look(system, name).catch((error: unknown) => {
      if (performance.now() > deadline) throw error;
      return view;
    });
  }
}

/** `pg-r0 InSync, pg-r1 Stalled` */
export function legsOf(view: View): string {
  const legs = view.connection?.status?.legs ?? [];
  return legs.map((leg) => `${leg.replica} ${leg.state}`).join(', ') || 'no legs';
}
