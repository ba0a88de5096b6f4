import type { MdArray, MdMember } from '../../../lib/host/md.ts';
import type { NvmeController, NvmeNamespace } from '../../../lib/host/nvme.ts';
import type { Valve } from '../../../lib/host/valve.ts';
import type { Standstill } from './memory.ts';

/** What is known of one leg at one moment: what the API wants, what it has recorded, what the kernel has. */
export interface LegFacts {
  /** Name of the VolumeReplica. */
  readonly replica: string;
  readonly uid: string;
  /** Names the leg: a replica whose storage node was booted again comes back under another NQN, as another leg. */
  readonly nqn: string;
  readonly address: string;
  readonly port: number;
  /** The VolumeConnection lists it. */
  readonly desired: boolean;
  /** The in-sync set names it. */
  readonly recorded: boolean;
  /** The running array's bitmap knows all that it lacks (same client boot, same epoch, same boot of its storage node). */
  readonly bitmapCovers: boolean;
  readonly controller: NvmeController | undefined;
  readonly namespace: NvmeNamespace | undefined;
  readonly valve: Valve | undefined;
  /** The valve has given its path up, although the controller lives again. */
  readonly pathFailed: boolean;
  /** … and lived all the time: the target answered with an error. */
  readonly pathErred: boolean;
  /** A path that was given up is tried again after this long. */
  readonly reinstateInMs: number;
  readonly member: MdMember | undefined;
  /** How long ago the leg last proved that it works. */
  readonly quietMs: number;
  /** For how long it has worked without a pause. */
  readonly goodForMs: number;
  /** Its storage node has proved that what this node sent it earlier, by a controller that is gone, has ended. */
  readonly drained: boolean;
  /** It has left the array, and the API server knows that it waits for a drain of its own since then. */
  readonly drainAsked: boolean;
  /** Something that takes its time (a connect, a swap, a join, ...) is under way with this leg. */
  readonly busy: boolean;
  /** It may not join, and no array is started from it, before this long has passed (it failed a moment ago). */
  readonly joinInMs: number;
  /** Its namespace is looked at anew after this long at the earliest. */
  readonly rescanInMs: number;
  /** Mean time of its latest I/Os. */
  readonly latencyMs: number | undefined;
}

/** What is known of one volume on this client node. */
export interface ConnectionFacts {
  /** Whose turn the record says it is: ours, not yet (the caches lag), or somebody else's. */
  readonly grant: 'Ours' | 'NotYet' | 'Lost';
  /** The VolumeConnection is being deleted: release the volume. */
  readonly releasing: boolean;
  readonly legTimeoutMs: number;
  /** Without the API server for this long, a lost leg is dropped although that can't be recorded. Undefined: never. */
  readonly continueAfterMs: number | undefined;
  /** A leg that lives but ends no I/O for this long is dropped. Undefined: never. */
  readonly dropSlowAfterMs: number | undefined;
  /** For how long the API server could not be reached to record something; 0 while it answers. */
  readonly unrecordableForMs: number;
  /** The API server had accepted a later record than the one that it has now. */
  readonly forgotten: boolean;
  /** The API server knows this boot of ours and every drain that we wait for. */
  readonly told: boolean;
  readonly raidDisks: number;
  /** The size that the array is to have. */
  readonly sizeBytes: number;
  /** The array has been made larger, and the legs don't say yet that it is. */
  readonly settling: boolean;
  /** The array was stopped in order the last time, so the in-sync legs are identical. */
  readonly clean: boolean;
  readonly array: MdArray | undefined;
  /** The array is being stopped. */
  readonly stopping: boolean;
  /** NVMe name of the leg that md is being asked to add or to remove, or what else it waits for all I/O under way for. */
  readonly reshaping: string | undefined;
  /** How long this agent has tried to start the array. */
  readonly startingForMs: number;
  /** Mount points of the array's device. */
  readonly mountPoints: readonly string[];
  /** The stable device path exists and points to the array. */
  readonly linked: boolean;
  readonly legs: readonly LegFacts[];
  /** Names in the record's in-sync set that are no leg here. */
  readonly recordedElsewhere: readonly string[];
  /** Undefined while nobody has asked for one. */
  readonly suspension?: SuspensionFacts | undefined;
}

/** What is asked for, and done, about a standstill of the volume's writes. */
export interface SuspensionFacts {
  /** The connection's spec.suspend. */
  readonly wanted:
    | { readonly request: string; readonly hold: boolean; readonly release: string; readonly limitMs: number }
    | undefined;
  readonly current: Standstill | undefined;
  /** It is being begun or ended. */
  readonly busy: boolean;
  /** Nothing is left to be copied between members that count as in sync. */
  readonly resynced: boolean;
}

export interface DroppedLeg {
  readonly nqn: string;
  readonly reason: string;
}

/** One effect on the kernel or the record, on the leg with that NQN. Each may be tried again at any time. */
export type Action =
  | { readonly kind: 'Connect'; readonly nqn: string }
  | { readonly kind: 'Disconnect'; readonly nqn: string }
  | { readonly kind: 'SwapValve'; readonly nqn: string }
  | { readonly kind: 'ReinstatePath'; readonly nqn: string }
  /** Has the kernel look how large the leg's namespace is. */
  | { readonly kind: 'Rescan'; readonly nqn: string }
  /** Makes the array larger. */
  | { readonly kind: 'Grow' }
  /** Gives the array another number of places for legs. */
  | { readonly kind: 'SetPlaces'; readonly places: number }
  /** Tells the legs that the array has grown. */
  | { readonly kind: 'SettleSize' }
  | { readonly kind: 'Assemble'; readonly nqns: readonly string[]; readonly resyncStart: 'none' | '0' }
  | { readonly kind: 'Link' }
  | { readonly kind: 'MarkActive' }
  /** Several legs go with one record. */
  | { readonly kind: 'Drop'; readonly legs: readonly DroppedLeg[]; readonly record: boolean }
  /** Has the leg's storage node prove that what the leg was sent has ended. */
  | { readonly kind: 'AskDrain'; readonly nqn: string }
  | { readonly kind: 'RemoveMember'; readonly nqn: string }
  | { readonly kind: 'Join'; readonly nqn: string; readonly slot: number; readonly sync: 'Bitmap' | 'Full' }
  /** Lets the array sync and take members again, which a join that was cut off had stopped. */
  | { readonly kind: 'Unfreeze' }
  | { readonly kind: 'RecordJoined'; readonly nqn: string }
  /** Tells the API server again what it has forgotten. */
  | { readonly kind: 'RecordAnew' }
  /** Gets ready to hold writes, for a snapshot. */
  | { readonly kind: 'PrepareSuspension'; readonly request: string }
  | { readonly kind: 'Suspend'; readonly request: string; readonly limitMs: number }
  /** Lets writes go on; `released`: whoever asked for the standstill needs it no longer. */
  | { readonly kind: 'Resume'; readonly request: string; readonly released: boolean }
  | { readonly kind: 'Stop' }
  | { readonly kind: 'FinishRelease' }
  | { readonly kind: 'Fence' };

export type Phase = 'Connecting' | 'Connected' | 'Waiting' | 'Releasing' | 'Fenced' | 'Failed';

export interface Plan {
  readonly actions: readonly Action[];
  readonly phase: Phase;
  readonly message: string;
}
