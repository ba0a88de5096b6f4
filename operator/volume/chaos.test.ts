import { expect, test } from '@jest/globals';
import { random } from '../placement/fixtures.ts';
import type { Cluster } from './testing/cluster.ts';
import { createCluster } from './testing/cluster.ts';

/*
 * Random faults from a seed: machines go off and come back, the volume moves, the operator is killed and its caches lag.
 * Every write is checked against the laws; the client agents check that what they start from holds every acknowledged
 * write; and when all machines are back, the volume must become healthy by itself.
 */

const storage = ['s-a', 's-b', 's-c', 's-d', 's-e'];
const clients = ['c1', 'c2'];
/** A few in every run; many with HOLDFAST_CHAOS_SEEDS=1000. */
const seeds = Number(process.env['HOLDFAST_CHAOS_SEEDS'] ?? 20);

async function schedule(seed: number): Promise<Cluster> {
  const dice = random(seed);
  const cluster = createCluster();
  for (const name of storage) cluster.addNode(name, { zone: name });
  cluster.lag(dice.integer(2) === 0);
  if (dice.integer(2) === 0) cluster.crashEvery(1 + dice.integer(4));
  await cluster.createVolume('pg', { replicas: 2 + dice.integer(2) });
  if (dice.integer(3) > 0) await cluster.settle();
  const off = new Set<string>();
  for (let step = 0; step < 25; step += 1) {
    const machine = dice.pick([storage[0] ?? '', ...storage.slice(1), ...clients]);
    switch (dice.integer(6)) {
      case 0:
      case 1:
        cluster.power(machine, off.has(machine));
        if (!off.delete(machine)) off.add(machine);
        break;
      case 2:
        await cluster.edit('pg', { attachTo: dice.pick(['', 'c1', 'c2', 'c1']) });
        break;
      case 3:
        await cluster.advance(dice.pick([100, 5_000, 12_000, 61_000]));
        break;
      default:
        cluster.write('pg');
        await cluster.settle();
        cluster.write('pg');
    }
  }
  for (const machine of off) cluster.power(machine, true);
  return cluster;
}

test.each(Array.from({ length: seeds }, (_, i) => i + 1))(
  'seed %i: no law is broken, and the volume recovers',
  async (seed) => {
    const cluster = await schedule(seed);
    await cluster.edit('pg', { attachTo: '' });
    await cluster.advance(1_000);
    await cluster.edit('pg', { attachTo: 'c1' });
    await cluster.advance(200_000);
    expect(cluster.write('pg')).toBe(true);
    const { status, spec } = cluster.volume('pg');
    expect(status?.message).toBe(`all ${spec.replicas} replicas are in sync`);
    expect(status?.replicas).toHaveLength(spec.replicas);
    expect(cluster.api.replicas.rows.size).toBe(spec.replicas);

    await cluster.edit('pg', { attachTo: '' });
    await cluster.deleteVolume('pg');
    await cluster.advance(1_000);
    expect(cluster.api.volumes.rows.size + cluster.api.replicas.rows.size + cluster.api.connections.rows.size).toBe(0);
  },
);
