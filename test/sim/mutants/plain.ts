/** Bugs that any schedule may bring to light. */
import type { KubeObject, ReplicatedVolume } from '../../../lib/api/index.ts';
import type { Resource } from '../../../lib/kube/client.ts';
import type { Mutant, StatusPatch } from './mutation.ts';
import { asReplica, changed, membersSeenAs } from './mutation.ts';

export const plain: readonly Mutant[] = [
  {
    law: 'record before acknowledge',
    bug: 'the client agent drops a leg and records it 5 s later',
    mutation: {
      kube: (kube, role, { scheduler, program }) => {
        if (role !== 'client-agent') return kube;
        const volumes: Resource<ReplicatedVolume> = kube.resource({
          group: 'holdfast.dev',
          version: 'v1alpha1',
          kind: 'ReplicatedVolume',
          plural: 'replicatedvolumes',
          namespaced: false,
        });
        return changed(kube, 'ReplicatedVolume', {
          patch: async (name, patch, go) => {
            const { status } = patch as StatusPatch;
            const lost = Object.values(status?.outOfSync ?? {}).some((entry) => entry !== null);
            if (!lost) return await go();
            scheduler.after(program, 5000, 'the late record', () => void go().catch(() => undefined));
            const now = await volumes.get(name);
            return { ...now, status: { ...now?.status, inSync: status?.inSync } } as KubeObject;
          },
        });
      },
    },
  },
  {
    law: 'one writer',
    bug: 'the storage agent says that a host is fenced before it is',
    mutation: {
      kube: (kube, role) => {
        if (role !== 'storage-agent') return kube;
        return {
          ...kube,
          resource: (kind, namespace) => {
            const real = kube.resource(kind, namespace);
            if (kind.kind !== 'VolumeReplica') return real;
            return {
              ...real,
              get: async (name) => {
                const found = await real.get(name);
                const { epoch, hostNqn } = found === undefined ? { epoch: 0, hostNqn: '' } : asReplica(found).spec;
                const status = found === undefined ? undefined : asReplica(found).status;
                // As if the fence were done as soon as it is asked for.
                if (status?.fencedEpoch !== undefined && status.fencedEpoch < epoch) {
                  const done = { ...status, fencedEpoch: epoch, message: `fenced for ${hostNqn}` };
                  await real.apply({ metadata: { name }, status: done } as never, {
                    fieldManager: 'storage-agent',
                    subresource: 'status',
                  });
                }
                return found;
              },
            };
          },
        };
      },
    },
  },
  {
    law: 'one writer',
    bug: 'the operator takes every replica for fenced',
    mutation: {
      kube: (kube, role) =>
        role !== 'operator'
          ? kube
          : changed(kube, 'VolumeReplica', {
              see: (object) => {
                const { status, spec } = asReplica(object);
                return status?.fencedEpoch === undefined
                  ? object
                  : { ...object, status: { ...status, fencedEpoch: spec.epoch } };
              },
            }),
    },
  },
  {
    law: 'one writer',
    bug: 'the storage agent removes no export, it only believes so',
    mutation: {
      storageHost: (host) => {
        const removed = new Set<string>();
        return {
          ...host,
          nvmet: {
            ...host.nvmet,
            remove: (nqn) => {
              removed.add(nqn);
              return Promise.resolve();
            },
            presence: async (nqn) => (removed.has(nqn) ? 'gone' : await host.nvmet.presence(nqn)),
            observe: async (nqn) => (removed.has(nqn) ? undefined : await host.nvmet.observe(nqn)),
            create: async (spec) => {
              removed.delete(spec.nqn);
              await host.nvmet.create(spec);
            },
          },
        };
      },
    },
  },
  {
    law: 'in sync means proven',
    bug: 'the client agent takes a leg for in sync while data is still being copied to it',
    mutation: {
      clientPorts: membersSeenAs((state) => [...state, 'in_sync'], 'idle'),
    },
  },
  {
    law: 'in sync means proven',
    bug: 'a leg that missed writes joins without a copy',
    mutation: {
      clientPorts: (ports) => ({
        ...ports,
        md: {
          ...ports.md,
          addMember: async (name, options) => await ports.md.addMember(name, { ...options, kind: 'Bitmap' }),
        },
      }),
    },
  },
  {
    law: 'erase means erased',
    bug: 'the storage agent takes a member that has been ready for a while for an orphan',
    mutation: {
      kube: (kube, role, { scheduler }) => {
        if (role !== 'storage-agent') return kube;
        const orphaned = changed(kube, 'VolumeReplica', {
          see: (object) => {
            const { spec, metadata } = asReplica(object);
            if (spec.epoch < 1 || scheduler.now() < 5000) return object;
            const gone = { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
            return { ...object, metadata: gone, spec: { ...spec, state: 'Orphan' } };
          },
        });
        return changed(orphaned, 'ReplicatedVolume', {
          see: (object) => ({ ...object, metadata: { ...object.metadata, uid: 'another' } }),
        });
      },
    },
  },
];
