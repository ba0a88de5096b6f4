import { expect, test } from '@jest/globals';
import type { KubeNode } from '../../lib/kube/client.ts';
import { fakeResource } from '../testing/fake-resource.ts';
import { nodeTopology, parseTopologyKeys } from './topology.ts';

const nodes = fakeResource<KubeNode>();
nodes.put({ metadata: { name: 'n1', labels: { zone: 'a', rack: '', other: 'x' } } });

test('a node tells those of its labels that are asked for, and that it can use volumes', async () => {
  const told = nodeTopology({ node: 'n1', nodes, keys: ['zone', 'rack', 'region', 'constructor'] });
  expect(await told()).toEqual({ zone: 'a', rack: '', 'csi.holdfast.dev/client': 'true' });
});

test('a machine that Kubernetes does not know has no place', async () => {
  expect(await nodeTopology({ node: 'n2', nodes, keys: ['zone'] })()).toEqual({ 'csi.holdfast.dev/client': 'true' });
});

test('keys are separated by commas', () => {
  expect(parseTopologyKeys('topology.kubernetes.io/zone, rack')).toEqual(['topology.kubernetes.io/zone', 'rack']);
  expect(parseTopologyKeys('')).toEqual([]);
  expect(() => parseTopologyKeys('zone,a b')).toThrow('HF004: --topology-keys: "a b" is not a label key');
});
