import { expect, test } from '@jest/globals';
import { summarize, type AuditEntry } from './audit.ts';

const entry = (userAgent: string, verb: string, resource: string, at = '2026-01-01T00:00:10Z'): AuditEntry => ({
  userAgent,
  verb,
  requestReceivedTimestamp: at,
  objectRef: { resource },
});

test('what volumes cause is counted, by who asked', () => {
  const entries = [
    entry('holdfast-operator', 'patch', 'replicatedvolumes'),
    entry('holdfast-operator', 'patch', 'replicatedvolumes'),
    entry('storage-agent/0.1.0', 'get', 'volumereplicas'),
    entry('csi-provisioner/v6', 'create', 'persistentvolumes'),
    entry('holdfast-operator', 'update', 'leases'),
    entry('holdfast-operator', 'watch', 'replicatedvolumes'),
    entry('claims/1', 'list', 'persistentvolumeclaims'),
    entry('holdfast-operator', 'create', 'volumereplicas', '2026-01-01T00:00:00Z'),
  ];
  expect(summarize(entries, Date.parse('2026-01-01T00:00:05Z'))).toEqual({
    ours: 3,
    others: 1,
    detail: [
      ['holdfast-operator patch replicatedvolumes', 2],
      ['storage-agent get volumereplicas', 1],
      ['csi-provisioner create persistentvolumes', 1],
    ],
  });
});
