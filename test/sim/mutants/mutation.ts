/**
 * A mutant gives a program a bug that breaks a law. The product's code stays as it is: the bug sits in the simulated ports,
 * and makes the program act as if it had it.
 */
import type { AgentPorts } from '../../../csi-driver/node/agent/ports.ts';
import type { MdMember } from '../../../lib/host/md.ts';
import type { KubeObject, ReplicatedVolume, VolumeReplica } from '../../../lib/api/index.ts';
import type { Resource, ResourceKind } from '../../../lib/kube/client.ts';
import type { Kube } from '../../../lib/kube/kube.ts';
import type { Host as StorageHost } from '../../../storage-agent/agent.ts';
import type { ProgramHandle, Scheduler } from '../scheduler.ts';
import type { Ground } from './grounds.ts';

export type Role = 'operator' | 'storage-agent' | 'client-agent';

/** What is changed on the way between a program and its world. */
export interface Mutation {
  kube?(kube: Kube, role: Role, world: { readonly scheduler: Scheduler; readonly program: ProgramHandle }): Kube;
  storageHost?(host: StorageHost): StorageHost;
  clientPorts?(ports: AgentPorts): AgentPorts;
}

/** The client agent sees other words than md's in the state of each member that has not failed; `syncAction` as said. */
export const membersSeenAs =
  (words: (state: MdMember['state']) => Iterable<string>, syncAction?: string) =>
  (ports: AgentPorts): AgentPorts => ({
    ...ports,
    md: {
      ...ports.md,
      readArray: (name) => {
        const array = ports.md.readArray(name);
        if (array === undefined) return undefined;
        const members = array.members.map((member) =>
          member.state.has('faulty') ? member : { ...member, state: new Set(words(member.state)) },
        );
        return { ...array, syncAction: syncAction ?? array.syncAction, members };
      },
    },
  });

/** The laws of docs/explanation/data-safety.md, in its words, and what follows from them. */
export const LAWS = [
  'record before acknowledge',
  'start only from the record',
  'one writer',
  'a fenced client is silent',
  'add before remove',
  'in sync means proven',
  'erase means erased',
  'legs are identical',
  'a snapshot is of one instant',
] as const;

export interface Mutant {
  readonly law: (typeof LAWS)[number];
  readonly bug: string;
  readonly mutation: Mutation;
  /** Schedules in which the bug can show at all; default: any. */
  readonly ground?: Ground;
}

export type Change = (name: string, patch: object, go: () => Promise<KubeObject>) => Promise<KubeObject>;

/** The API with other patches of one kind, and with objects that look different. */
export function changed(
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

export const asVolume = (object: KubeObject): ReplicatedVolume => object as ReplicatedVolume;
export const asReplica = (object: KubeObject): VolumeReplica => object as VolumeReplica;

export interface StatusPatch {
  readonly status?: {
    readonly inSync?: readonly string[];
    readonly outOfSync?: object;
    readonly attachment?: { readonly clean?: boolean };
    readonly lineage?: number;
  };
}
