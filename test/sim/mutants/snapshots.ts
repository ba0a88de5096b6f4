/** Bugs that would make the copies of a snapshot differ. */
import type { SnapshotReplica } from '../../../lib/api/index.ts';
import { takenOften } from './grounds.ts';
import { changed, type Mutant } from './mutation.ts';

export const ofSnapshots: readonly Mutant[] = [
  {
    law: 'a snapshot is of one instant',
    bug: 'the client agent says that writes are held, and lets them through',
    ground: takenOften,
    mutation: {
      clientPorts: (ports) => {
        const held = new Set<string>();
        const md = {
          ...ports.md,
          suspendWrites: (name: string) => Promise.resolve(void held.add(name)),
          resumeWrites: (name: string) => Promise.resolve(void held.delete(name)),
          isSuspended: (name: string) => held.has(name),
        };
        return { ...ports, md };
      },
    },
  },
  {
    law: 'a snapshot is of one instant',
    bug: 'the operator takes every copy for taken that it has asked for',
    ground: takenOften,
    mutation: {
      kube: (kube, role) =>
        role !== 'operator'
          ? kube
          : changed(kube, 'SnapshotReplica', {
              see: (object) => {
                const { take } = (object as unknown as SnapshotReplica).spec;
                return take === '' ? object : { ...object, status: { phase: 'Taken', take } };
              },
            }),
    },
  },
];
