import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume, StorageNode } from '../lib/api/index.ts';
import { exposition } from '../lib/metrics.ts';
import { metricsOf, type View } from './metrics.ts';

const volume = {
  metadata: { name: 'v' },
  spec: { capacityBytes: 1024, replicas: 3 },
  status: { phase: 'Degraded', inSync: ['v-r0', 'v-r1'], attachment: { node: 'c1' } },
} as ReplicatedVolume;
const node = {
  metadata: { name: 's1' },
  spec: { cordoned: true },
  status: {
    conditions: [{ type: 'Ready', status: 'True' }],
    pools: [{ name: 'fast', capacityBytes: 100, usedBytes: 10, provisionedBytes: 200 }],
  },
} as StorageNode;
const view: View = { volumes: () => [volume], storageNodes: () => [node], isAlive: () => false };

test('the operator that leads tells of volumes, storage nodes and pools', () => {
  const lines = exposition(metricsOf(view))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  expect(lines).toEqual([
    'holdfast_operator_leading 1',
    'holdfast_volume_capacity_bytes{volume="v"} 1024',
    'holdfast_volume_wanted_replicas{volume="v"} 3',
    'holdfast_volume_in_sync_replicas{volume="v"} 2',
    'holdfast_volume_phase{volume="v",phase="Degraded"} 1',
    'holdfast_volume_attached{volume="v",node="c1"} 1',
    'holdfast_storage_node_alive{storage_node="s1"} 0',
    'holdfast_storage_node_ready{storage_node="s1"} 1',
    'holdfast_storage_node_cordoned{storage_node="s1"} 1',
    'holdfast_pool_capacity_bytes{storage_node="s1",pool="fast"} 100',
    'holdfast_pool_used_bytes{storage_node="s1",pool="fast"} 10',
    'holdfast_pool_provisioned_bytes{storage_node="s1",pool="fast"} 200',
  ]);
});

test('one that stands by only says so', () => {
  expect(exposition(metricsOf(undefined))).toMatch(/^holdfast_operator_leading 0$/m);
  expect(exposition(metricsOf(undefined))).not.toContain('holdfast_volume');
});

describe('docs/reference/metrics.md', () => {
  const page = readFileSync(new URL('../docs/reference/metrics.md', import.meta.url), 'utf8');
  const names = metricsOf(view).map(({ name }) => name);

  test('explains every metric and no other', () => {
    const told = [...page.matchAll(/`(holdfast_[a-z_]+)`/g)].map((match) => match[1]);
    expect(new Set(told)).toEqual(new Set(names));
  });

  test('the alerts of the chart rest on metrics that exist, and each has its section', () => {
    const rules = readFileSync(new URL('../charts/holdfast/templates/monitoring.yaml', import.meta.url), 'utf8');
    const used = [...rules.matchAll(/\b(holdfast_[a-z_]+)\b/g)].map((match) => match[1]);
    expect(used.length).toBeGreaterThan(5);
    expect(used.filter((name) => !names.includes(name ?? ''))).toEqual([]);
    const alerts = [...rules.matchAll(/alert: (Holdfast\w+)/g)].map((match) => match[1]);
    const sections = [...page.matchAll(/^### (Holdfast\w+)$/gm)].map((match) => match[1]);
    expect(sections).toEqual(alerts);
  });
});
