import { expect, test } from '@jest/globals';
import { requestTable, summarize, type AuditEntry } from './audit.ts';

const LATER = '2026-01-01T00:00:10Z';
const SINCE_MS = Date.parse('2026-01-01T00:00:05Z');

const entry = (userAgent: string, verb: string, resource: string, more: Partial<AuditEntry> = {}): AuditEntry => ({
  userAgent,
  verb,
  requestURI: `/apis/x/v1/${resource}`,
  requestReceivedTimestamp: LATER,
  objectRef: { resource },
  ...more,
});

const entries = [
  entry('holdfast-operator', 'patch', 'replicatedvolumes', {
    objectRef: { resource: 'replicatedvolumes', subresource: 'status' },
  }),
  entry('holdfast-operator', 'list', 'volumereplicas', {
    requestURI: '/apis/x/v1/volumereplicas?fieldSelector=spec.volume%3Dpg&limit=500',
  }),
  entry('holdfast-operator', 'list', 'replicatedvolumes', {
    requestURI: '/apis/x/v1/replicatedvolumes?fieldSelector=metadata.name%3Dpg',
  }),
  entry('storage-agent/0.1.0', 'get', 'volumereplicas'),
  entry('csi-provisioner/v6', 'create', 'persistentvolumes'),
  // What is not caused by a volume.
  entry('holdfast-operator', 'list', 'volumereplicas', { requestURI: '/apis/x/v1/volumereplicas?limit=500' }),
  entry('storage-agent/0.1.0', 'list', 'volumereplicas', {
    requestURI: '/apis/x/v1/volumereplicas?fieldSelector=spec.storageNode%3Ds1',
  }),
  entry('storage-agent/0.1.0', 'list', 'storagenodes', {
    requestURI: '/apis/x/v1/storagenodes?fieldSelector=metadata.name%3Ds1',
  }),
  entry('holdfast-operator', 'update', 'leases'),
  entry('holdfast-operator', 'watch', 'replicatedvolumes'),
  entry('claims/1', 'get', 'persistentvolumeclaims'),
  entry('holdfast-operator', 'create', 'volumereplicas', { requestReceivedTimestamp: '2026-01-01T00:00:00Z' }),
];

test('what volumes cause is counted, by who asked', () => {
  const { ours, others, detail } = summarize(entries, SINCE_MS);
  expect([ours, others]).toEqual([4, 1]);
  expect(detail.map(({ program, verb, what, count }) => [program, verb, what, count])).toEqual([
    ['holdfast-operator', 'patch', 'replicatedvolumes/status', 1],
    ['holdfast-operator', 'list', 'volumereplicas', 1],
    ['holdfast-operator', 'list', 'replicatedvolumes', 1],
    ['csi-provisioner', 'create', 'persistentvolumes', 1],
    ['storage-agent', 'get', 'volumereplicas', 1],
  ]);
});

test('the table has our programs first', () => {
  const lines = requestTable(summarize(entries, SINCE_MS), 2).split('\n');
  expect(lines.slice(2).map((line) => line.split('|')[1]?.trim())).toEqual([
    'holdfast-operator',
    'holdfast-operator',
    'holdfast-operator',
    'storage-agent',
    'csi-provisioner',
  ]);
  expect(lines[2]).toBe('| holdfast-operator | patch | replicatedvolumes/status | 0.50 |');
});
