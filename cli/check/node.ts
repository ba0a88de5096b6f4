import {
  arrayName,
  devicePath,
  hostNqn,
  legSizeBytes,
  logicalVolumeName,
  logicalVolumeTags,
  replicaModel,
  replicaNqn,
  valveName,
  type VolumeConnection,
  type VolumeReplica,
} from '../../lib/api/index.ts';
import type { MdArray } from '../../lib/host/md.ts';
import type { MountEntry } from '../../lib/host/mount.ts';
import type { NvmeController } from '../../lib/host/nvme.ts';
import type { Subsystem } from '../../lib/host/nvmet.ts';
import type { LvmVolume } from '../../lib/host/lvm.ts';
import { isReplicaVolume } from '../../storage-agent/replica/identity.ts';
import { error, warning, type Finding } from './findings.ts';
import type { Objects } from './objects.ts';
import { checkCopiesHere } from './snapshots.ts';

/** What one machine has of ours, read from its kernel and its LVM. */
export interface NodeFacts {
  readonly node: string;
  readonly bootId: string;
  /** Undefined: there is no LVM, or it did not answer; `problems` has the reason. */
  readonly logicalVolumes: readonly LvmVolume[] | undefined;
  readonly exports: readonly Subsystem[];
  readonly controllers: readonly NvmeController[];
  /** device-mapper names of our valves. */
  readonly valves: readonly string[];
  readonly arrays: readonly MdArray[];
  /** Mounts of our arrays, with the array's name. */
  readonly mounts: readonly (Pick<MountEntry, 'target'> & { readonly array: string })[];
  /** Names of links in /dev/holdfast. */
  readonly links: readonly string[];
  readonly problems: readonly string[];
}

/** What the machine has against what the objects say of it, both ways. Pure. */
export function checkNode(facts: NodeFacts, objects: Objects): Finding[] {
  return [
    ...facts.problems.map((problem) => warning(`node ${facts.node}`, problem)),
    ...checkStorage(facts, objects),
    ...checkCopiesHere(facts, objects),
    ...checkClient(facts, objects),
  ];
}

function checkStorage(facts: NodeFacts, { replicas }: Objects): Finding[] {
  const here = replicas.filter(({ spec }) => spec.storageNode === facts.node);
  const at = `node ${facts.node}`;
  const findings = here.flatMap((replica) => checkReplicaHere(replica, facts));
  for (const volume of facts.logicalVolumes?.filter(isReplicaVolume) ?? []) {
    const isKnown = here.some(({ metadata, spec }) =>
      [metadata.uid, spec.adopt?.replicaUid].some((uid) => uid !== undefined && volume.name === logicalVolumeName(uid)),
    );
    if (!isKnown) findings.push(warning(at, `the logical volume ${volume.group}/${volume.name} has no VolumeReplica`));
  }
  const expected = new Set(here.map(({ metadata }) => replicaNqn(metadata.uid ?? '', facts.bootId)));
  for (const { nqn } of facts.exports.filter((each) => !expected.has(each.nqn))) {
    findings.push(error(at, `the export ${nqn} has no VolumeReplica: an earlier host may still write`));
  }
  return findings;
}

function checkReplicaHere(replica: VolumeReplica, facts: NodeFacts): Finding[] {
  const { metadata, spec, status } = replica;
  const { uid = '', name } = metadata;
  const object = `replica ${name}`;
  const findings: Finding[] = [];
  const wasReady = status?.fencedEpoch !== undefined;
  const volume = facts.logicalVolumes?.find((each) => each.name === logicalVolumeName(uid));
  if (facts.logicalVolumes !== undefined && volume === undefined && wasReady && spec.state === 'Active') {
    findings.push(error(object, `its logical volume ${logicalVolumeName(uid)} is not on ${facts.node}`));
  }
  if (volume !== undefined) {
    if (!logicalVolumeTags(spec.volumeUid, uid).every((tag) => volume.tags.includes(tag))) {
      findings.push(error(object, `its logical volume has the tags ${volume.tags.join(',')}`));
    }
    if (volume.sizeBytes < legSizeBytes(spec.sizeBytes)) {
      findings.push(
        warning(object, `its logical volume has ${volume.sizeBytes} bytes, ${legSizeBytes(spec.sizeBytes)} are wanted`),
      );
    }
  }
  const standing = facts.exports.find(({ nqn }) => nqn === replicaNqn(uid, facts.bootId));
  const isOpen = spec.state === 'Active' && spec.hostNqn !== '';
  if (standing === undefined) {
    if (isOpen && status?.fencedEpoch === spec.epoch)
      findings.push(error(object, 'it is reported as exported, and it is not'));
    return findings;
  }
  if (!isOpen)
    findings.push(
      error(object, `it is exported to ${standing.allowedHosts.join(', ') || 'nobody'}, and nobody may have it`),
    );
  else if (standing.model !== replicaModel(spec)) {
    findings.push(error(object, `its export is of "${standing.model}", its object of "${replicaModel(spec)}"`));
  } else if (standing.allowAnyHost || standing.allowedHosts.some((host) => host !== spec.hostNqn)) {
    const hosts = standing.allowAnyHost ? 'every host' : standing.allowedHosts.join(', ');
    findings.push(error(object, `it admits ${hosts}, and ${spec.hostNqn} alone may have it`));
  }
  return findings;
}

function checkClient(facts: NodeFacts, { connections, volumes }: Objects): Finding[] {
  const at = `node ${facts.node}`;
  const here = connections.filter(({ spec }) => spec.node === facts.node);
  const legs = here.flatMap(({ spec }) => spec.legs.map(({ nqn }) => nqn));
  const arrays = here.map(({ spec }) => arrayName(spec.volumeUid));
  const findings = here.flatMap((connection) => checkConnectionHere(connection, facts));
  for (const { nqn, name, state } of facts.controllers.filter((each) => !legs.includes(each.nqn))) {
    findings.push(warning(at, `the controller ${name} (${nqn}, ${state}) is no leg of a connection`));
  }
  for (const valve of facts.valves.filter((each) => !legs.some((nqn) => valveName(nqn) === each))) {
    findings.push(warning(at, `the valve ${valve} is no leg of a connection`));
  }
  for (const { name, state } of facts.arrays.filter((each) => !arrays.includes(each.name))) {
    findings.push(error(at, `the array ${name} (${state}) has no connection`));
  }
  for (const { array, target } of facts.mounts.filter((each) => !arrays.includes(each.array))) {
    findings.push(error(at, `${target} is mounted from the array ${array}, which has no connection`));
  }
  for (const link of facts.links.filter(
    (each) => !here.some(({ spec }) => devicePath(spec.volume) === `/dev/holdfast/${each}`),
  )) {
    findings.push(warning(at, `the link /dev/holdfast/${link} has no connection`));
  }
  for (const { metadata, status } of volumes) {
    const isElsewhere = status?.attachment?.node !== facts.node || status.attachment.hostNqn !== hostNqn(facts.node);
    const mounted = facts.mounts.find(({ array }) => array === arrayName(metadata.uid ?? ''));
    if (mounted !== undefined && isElsewhere) {
      const owner = status?.attachment?.node || 'nobody';
      findings.push(
        error(`volume ${metadata.name}`, `is mounted at ${mounted.target} on ${facts.node}, and ${owner} has it`),
      );
    }
  }
  return findings;
}

function checkConnectionHere({ metadata, spec, status }: VolumeConnection, facts: NodeFacts): Finding[] {
  const object = `connection ${metadata.name}`;
  const array = facts.arrays.find(({ name }) => name === arrayName(spec.volumeUid));
  if (status?.phase !== 'Connected') return [];
  if (array === undefined)
    return [error(object, `it is reported as connected, and there is no array ${arrayName(spec.volumeUid)}`)];
  const faulty = array.members.filter(({ state }) => state.has('faulty')).map(({ device }) => device);
  return [
    ...(faulty.length > 0 ? [warning(object, `its array has failed members: ${faulty.join(', ')}`)] : []),
    ...(ARRAY_STATES.has(array.state) ? [] : [warning(object, `its array is ${array.state}`)]),
    ...spec.legs
      .filter(({ nqn }) => !facts.controllers.some((each) => each.nqn === nqn && each.state === 'live'))
      .map(({ replica }) => warning(object, `its leg ${replica} has no live controller`)),
  ];
}

/** States of an array that runs (kernel: Documentation/admin-guide/md.rst). */
const ARRAY_STATES: ReadonlySet<string> = new Set(['clean', 'active', 'active-idle', 'write-pending']);
