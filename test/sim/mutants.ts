/**
 * Breaks each law on purpose, to show that the simulation sees it. The product's code stays as it is: a mutant sits in the
 * simulated ports, and makes a program act as if it had the bug.
 */
import type { AgentPorts } from '../../csi-driver/node/agent/ports.ts';
import type { KubeObject, ReplicatedVolume, VolumeReplica } from '../../lib/api/index.ts';
import type { Resource, ResourceKind } from '../../lib/kube/client.ts';
import type { Kube } from '../../lib/kube/kube.ts';
import type { Host as StorageHost } from '../../storage-agent/agent.ts';
import { runSchedule } from './run.ts';
import { scheduleOf } from './schedule.ts';
import type { ProgramHandle, Scheduler } from './scheduler.ts';

export type Role = 'operator' | 'storage-agent' | 'client-agent';

/** What is changed on the way between a program and its world. */
export interface Mutation {
  kube?(kube: Kube, role: Role, world: { readonly scheduler: Scheduler; readonly program: ProgramHandle }): Kube;
  storageHost?(host: StorageHost): StorageHost;
  clientPorts?(ports: AgentPorts): AgentPorts;
}

export interface Mutant {
  readonly law: string;
  readonly bug: string;
  readonly mutation: Mutation;
}

type Change = (name: string, patch: object, go: () => Promise<KubeObject>) => Promise<KubeObject>;

/** The API with other patches of one kind, and with objects that look different. */
function changed(
  kube: Kube,
  kind: string,
  change: { readonly patch?: Change; readonly see?: <T extends KubeObject>(object: T) => T },
): Kube {
  const see = change.see ?? ((object) => object);
  return {
    resource: <T extends KubeObject>(wanted: ResourceKind<T>, namespace?: string): Resource<T> => {
      const real = kube.resource(wanted, namespace);
      if (wanted.kind !== kind) return real;
      const mutant: Resource<T> = {
        ...real,
        get: async (name, options): Promise<T | undefined> => {
          const found = await real.get(name, options);
          return found === undefined ? undefined : see(found);
        },
        list: async (...args) => {
          const { items, resourceVersion } = await real.list(...args);
          return { items: items.map(see), resourceVersion };
        },
        patch: async (name, patch, options) => {
          const go = (): Promise<T> => real.patch(name, patch, options);
          if (change.patch === undefined) return see(await go());
          return (await change.patch(name, patch, go)) as T;
        },
      };
      return mutant;
    },
    informer: (wanted, options) => {
      const real = kube.informer(wanted, options);
      if (wanted.kind !== kind || change.see === undefined) return real;
      return {
        ...real,
        get: (name) => {
          const found = real.get(name);
          return found && see(found);
        },
        list: () => real.list().map(see),
        byIndex: (index, value) => real.byIndex(index, value).map(see),
      };
    },
  };
}

const asVolume = (object: KubeObject): ReplicatedVolume => object as ReplicatedVolume;
const asReplica = (object: KubeObject): VolumeReplica => object as VolumeReplica;

interface StatusPatch {
  readonly status?: {
    readonly inSync?: readonly string[];
    readonly outOfSync?: object;
    readonly attachment?: { readonly clean?: boolean };
  };
}

export const mutants: readonly Mutant[] = [
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
    law: 'start only from the in-sync set',
    bug: 'the client agent takes every replica for in sync',
    mutation: {
      kube: (kube, role) =>
        role !== 'client-agent'
          ? kube
          : changed(kube, 'ReplicatedVolume', {
              see: (object) => {
                const { status } = asVolume(object);
                const members = (status?.replicas ?? []).map(({ name }) => name);
                return status?.inSync === undefined ? object : { ...object, status: { ...status, inSync: members } };
              },
            }),
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
    law: 'a fenced client never acknowledges',
    bug: 'the client agent fails the legs of a lost volume before it kills its users',
    mutation: {
      clientPorts: (ports) => ({ ...ports, users: { ...ports.users, list: () => Promise.resolve([]) } }),
    },
  },
  {
    law: 'in sync means proven',
    bug: 'the client agent takes a leg for in sync while data is still being copied to it',
    mutation: {
      clientPorts: (ports) => ({
        ...ports,
        md: {
          ...ports.md,
          readArray: (name) => {
            const array = ports.md.readArray(name);
            if (array === undefined) return undefined;
            const members = array.members.map((member) =>
              member.state.has('faulty') ? member : { ...member, state: new Set([...member.state, 'in_sync']) },
            );
            return { ...array, syncAction: 'idle', members };
          },
        },
      }),
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
  {
    law: 'legs are identical',
    bug: 'the client agent never says that its array runs, so a crash looks like an orderly stop',
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
];

export interface Caught {
  readonly law: string;
  readonly bug: string;
  /** The seed that caught it and the law that it named; undefined: none did. */
  readonly seed: number | undefined;
  readonly by: string | undefined;
  readonly message: string | undefined;
}

/** Laws that say that the world does not come to rest: they notice a mutant, but prove nothing about safety. */
const LIVENESS = new Set(['the volume recovers', 'the volume is detached', 'the volume is deleted', 'no error']);

/** Runs seeds until one breaks a law of safety. */
export async function hunt(mutant: Mutant, seeds: Iterable<number>): Promise<Caught> {
  const { law, bug, mutation } = mutant;
  for (const seed of seeds) {
    const { violation } = await runSchedule(scheduleOf(seed), { mutation });
    if (violation !== undefined && !LIVENESS.has(violation.law)) {
      return { law, bug, seed, by: violation.law, message: violation.message };
    }
  }
  return { law, bug, seed: undefined, by: undefined, message: undefined };
}
