/** Bugs that show in few schedules only: each has its own. */
import { LEG_SLOTS_BYTES } from '../../../lib/host/leg-header.ts';
import {
  fullDisk,
  diedWriting,
  fencedWriting,
  forcedStart,
  onlyStale,
  replaced,
  restoredBackup,
  stuckWrite,
} from './grounds.ts';
import type { Mutant, Mutation, StatusPatch } from './mutation.ts';
import { asReplica, asVolume, changed, membersSeenAs } from './mutation.ts';

/** Legs look as if no record had ever been written in front of their data. */
const readsNoRecord: Mutation['clientPorts'] = (ports) => ({
  ...ports,
  readDevice: (_device, _offset, length) => Promise.resolve('\0'.repeat(length)),
});

export const special: readonly Mutant[] = [
  {
    law: 'add before remove',
    bug: 'the operator lets the replaced replica go before the new one is filled',
    ground: replaced,
    mutation: {
      kube: (kube, role) =>
        role !== 'operator'
          ? kube
          : changed(kube, 'ReplicatedVolume', {
              see: (object) => {
                const { status } = asVolume(object);
                if (!status?.replicas?.some(({ role: each }) => each !== 'Member')) return object;
                const members = status.replicas.filter(({ role: each }) => each === 'Member').map(({ name }) => name);
                return { ...object, status: { ...status, inSync: members } };
              },
            }),
    },
  },
  {
    law: 'a fenced client is silent',
    bug: 'the client agent fails the legs of a lost volume before it kills its users',
    ground: fencedWriting,
    mutation: {
      clientPorts: (ports) => ({ ...ports, users: { ...ports.users, list: () => Promise.resolve([]) } }),
    },
  },
  {
    law: 'in sync means proven',
    bug: 'a leg comes back without being drained of what it was sent before',
    ground: stuckWrite,
    mutation: {
      kube: (kube, role) => {
        if (role === 'client-agent') return kube;
        return changed(kube, 'VolumeReplica', {
          see: (object) => {
            const { spec, status } = asReplica(object);
            if (role === 'storage-agent') return { ...object, spec: { ...spec, drain: 0 } };
            return status === undefined ? object : { ...object, status: { ...status, drained: spec.drain } };
          },
        });
      },
    },
  },
  {
    law: 'in sync means proven',
    bug: 'the client agent does not see that a leg has failed a write',
    ground: fullDisk,
    mutation: {
      clientPorts: membersSeenAs((state) => [...state].filter((word) => word !== 'write_error' && word !== 'blocked')),
    },
  },
  {
    law: 'start only from the record',
    bug: 'a client starts from replicas that were lost under an earlier one, and does not read what they know',
    ground: onlyStale,
    mutation: {
      clientPorts: readsNoRecord,
      kube: (kube, role) =>
        role !== 'client-agent'
          ? kube
          : changed(kube, 'ReplicatedVolume', {
              see: (object) => {
                const { status } = asVolume(object);
                const { inSync, outOfSync = {}, attachment } = status ?? {};
                const lost = Object.entries(outOfSync).filter(([, { epoch }]) => epoch < (attachment?.epoch ?? 0));
                if (inSync === undefined || lost.length === 0) return object;
                return { ...object, status: { ...status, inSync: [...inSync, ...lost.map(([name]) => name)] } };
              },
            }),
    },
  },
  {
    law: 'start only from the record',
    bug: 'nobody compares what the disks know with a record that was restored from a backup',
    ground: restoredBackup,
    mutation: {
      clientPorts: readsNoRecord,
      storageHost: (host) => ({
        ...host,
        disks: Object.assign(Object.create(host.disks) as typeof host.disks, {
          readStart: (device: string, length: number) =>
            length === LEG_SLOTS_BYTES ? Promise.resolve(Buffer.alloc(length)) : host.disks.readStart(device, length),
        }),
      }),
    },
  },
  {
    law: 'start only from the record',
    bug: 'the operator keeps the old in-sync replicas in the record of a forced start',
    ground: forcedStart,
    mutation: {
      kube: (kube, role) => {
        if (role !== 'operator') return kube;
        return changed(kube, 'ReplicatedVolume', {
          patch: async (_name, patch, go) => {
            const { status } = patch as StatusPatch;
            if (status?.lineage !== undefined && status.lineage > 1) {
              const { outOfSync = {}, inSync = [] } = status;
              const old = Object.entries(outOfSync).filter(([, entry]) => entry !== null);
              Object.assign(status, {
                inSync: [...inSync, ...old.map(([name]) => name)],
                outOfSync: Object.fromEntries(Object.keys(outOfSync).map((name) => [name, null])),
              });
            }
            return await go();
          },
        });
      },
    },
  },
  {
    law: 'legs are identical',
    bug: 'the client agent never says that its array runs, so a crash looks like an orderly stop',
    ground: diedWriting,
    mutation: {
      kube: (kube, role) =>
        role !== 'client-agent'
          ? kube
          : {
              ...kube,
              resource: (kind, namespace) => {
                const real = kube.resource(kind, namespace);
                if (kind.kind !== 'ReplicatedVolume') return real;
                return {
                  ...real,
                  patch: async (name, patch, options) => {
                    const { status, ...rest } = patch as StatusPatch;
                    const { attachment: _, ...kept } = status ?? {};
                    return await real.patch(name, { ...rest, status: kept }, options);
                  },
                };
              },
            },
    },
  },
  {
    law: 'legs are identical',
    bug: 'an array that was not stopped in order is started as if its legs were the same',
    ground: diedWriting,
    mutation: {
      clientPorts: (ports) => ({
        ...ports,
        md: {
          ...ports.md,
          assembleReadOnly: async (options) => await ports.md.assembleReadOnly({ ...options, resyncStart: 'none' }),
        },
      }),
    },
  },
];
