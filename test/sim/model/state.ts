/** What a world is like, to know it again. */
import { createHash } from 'node:crypto';
import type { KubeObject } from '../../../lib/api/index.ts';
import type { PendingEvent } from '../scheduler.ts';
import type { World } from '../world.ts';

/** Counts and times: two worlds that differ in nothing else go on alike. */
const COUNTS =
  /^(resourceVersion|generation|lastTransitionTime|creationTimestamp|since|at|renewTime|message|observedGeneration|latencyMs|reason)$/;

const withoutCounts = (key: string, value: unknown): unknown =>
  COUNTS.test(key) ? undefined : value instanceof Set ? [...(value as Set<unknown>)] : value;

/** Objects are never changed in place. */
const texts = new WeakMap<KubeObject, string>();

function textOf(object: KubeObject): string {
  let text = texts.get(object);
  if (text === undefined) texts.set(object, (text = JSON.stringify(object, withoutCounts)));
  return text;
}

/** What waits counts by its order and about how long: to a tenth of the time. */
function waiting({ program, label, atMs }: PendingEvent, nowMs: number): string {
  const left = atMs - nowMs;
  return `${program?.name} ${label} ${left < 20 ? Math.round(left) : Math.round(10 * Math.log2(left))}`;
}

/**
 * Objects, kernels, disks, and what is under way: messages, effects, timers. What programs have in memory is not looked
 * at; of that, what they wait for is seen, and what they know of the objects they are told of again.
 */
export function stateOf(world: World, next: PendingEvent): string {
  const { api, scheduler, storage, clients, services, laws } = world;
  const hash = createHash('sha1');
  for (const table of [api.volumes, api.replicas, api.connections]) {
    for (const row of table.rows.values()) hash.update(textOf(row));
  }
  for (const kernel of storage.values()) {
    const data = kernel
      .replicas()
      .map((uid) => [uid, ...[...laws.acknowledged.keys()].map((block) => kernel.readBlock(uid, block))]);
    hash.update(JSON.stringify([kernel.on, kernel.bootId, kernel.exports(), data]));
  }
  for (const kernel of clients.values()) {
    const { md, nvme } = kernel.ports({ name: 'observer', alive: true });
    const left = kernel.leftovers();
    const arrays = left.arrays.map((name) => md.readArray(name));
    const controllers = nvme.listControllers(() => true);
    hash.update(JSON.stringify([kernel.on, kernel.bootId, left, arrays, controllers], withoutCounts));
  }
  for (const service of services.values()) hash.update(service.handle().alive ? '1' : '0');
  hash.update(JSON.stringify([...laws.acknowledged]));
  hash.update(next.label);
  const nowMs = scheduler.now();
  for (const event of scheduler.pending()) if (!/Lease/.test(event.label)) hash.update(waiting(event, nowMs));
  return hash.digest('base64');
}
