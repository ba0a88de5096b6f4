import { HoldfastError, LEG_HEADER_BYTES } from '../../lib/api/index.ts';
import type { Listener } from '../../lib/host/nvmet.ts';
import type { Ports } from '../ports.ts';
import type { Action } from './plan.ts';
import { allocatedTag, ERASED_TAG, FOREIGN_HEADER_TAG, type ReplicaFacts } from './world.ts';

/** How long one look waits for a removed export's controllers; after that the loop reports it and comes back. */
const DRAIN_MS = 10_000;
const DRAIN_POLL_MS = 50;
/** A piece of a thick volume that is written in one go. */
const ALLOCATE_STEP_BYTES = 256 * 1024 * 1024;

/** Carries out one effect. Each may be done again after a crash at any point inside it. @throws when it fails. */
export async function executeAction(ports: Ports, replica: ReplicaFacts, action: Action): Promise<void> {
  const { lvm, nvmet, disks, api, log } = ports;
  const fields = { replica: replica.name, epoch: replica.epoch };
  switch (action.kind) {
    case 'fence':
      log.info(`removing ${action.why}`, fields);
      await nvmet.remove(action.nqn);
      return;
    case 'await-drain':
      await awaitDrain(ports, action);
      return;
    case 'create-volume':
      log.info('creating the logical volume', { ...fields, volume: `${action.group}/${action.name}` });
      await lvm.createThinVolume(action);
      return;
    case 'copy-volume':
      log.info('making the logical volume from a snapshot', { ...fields, origin: `${action.group}/${action.origin}` });
      await lvm.createThinSnapshot(action);
      return;
    case 'clear-header':
      await disks.zero(action.devicePath, 0, LEG_HEADER_BYTES);
      await disks.flush(action.devicePath);
      await lvm.changeTags(action.group, action.name, { add: [], remove: [FOREIGN_HEADER_TAG] });
      return;
    case 'activate-volume':
      await lvm.activate(action.group, action.name);
      return;
    case 'adopt-volume':
      log.info('taking over the logical volume', { ...fields, volume: `${action.group}/${action.from}` });
      await lvm.rename(action.group, action.from, action.name);
      return;
    case 'label-volume':
      await lvm.changeTags(action.group, action.name, action.change);
      return;
    case 'extend-volume':
      await lvm.extend(action.group, action.name, action.sizeBytes);
      // Should we die before this, the client's own rescan makes the kernel look again (nvmet_execute_identify).
      if (action.nqn !== undefined) await nvmet.revalidate(action.nqn);
      return;
    case 'allocate-volume':
      for (let at = action.fromBytes; at < action.toBytes; at += ALLOCATE_STEP_BYTES) {
        await disks.zero(action.devicePath, at, Math.min(ALLOCATE_STEP_BYTES, action.toBytes - at));
      }
      await lvm.addTag(action.group, action.name, allocatedTag(action.toBytes));
      return;
    case 'export':
      log.info('exporting', { ...fields, host: action.spec.hostNqn, device: action.spec.devicePath });
      // Before a host can come in: who has it, and under which epoch.
      if (action.label) await lvm.changeTags(action.label.group, action.label.name, action.label.change);
      await nvmet.create(action.spec);
      await listen(ports, action.spec.nqn, action.spec.listeners);
      return;
    case 'listen':
      await listen(ports, action.nqn, action.listeners);
      return;
    case 'erase-volume':
      log.info('erasing', { ...fields, volume: `${action.group}/${action.name}` });
      await erase(ports, action);
      return;
    case 'remove-volume':
      log.info('removing the logical volume', { ...fields, volume: `${action.group}/${action.name}` });
      await lvm.remove(action.group, action.name);
      return;
    case 'release':
      log.info('erased', fields);
      await api.releaseReplica(replica.name, replica.uid);
      return;
  }
}

/** Waits until nothing of a removed export lives. Without debugfs the proof is that nobody holds the volume open. */
async function awaitDrain(ports: Ports, action: Extract<Action, { kind: 'await-drain' }>): Promise<void> {
  const { nqn, devNo } = action;
  const endMs = ports.now() + DRAIN_MS;
  do {
    const presence = await ports.nvmet.presence(nqn);
    if (presence === 'gone' || presence === 'standing') return;
    if (presence === 'unknown' && (devNo === undefined || !(await ports.disks.isOpen(devNo)))) return;
    await ports.sleep(DRAIN_POLL_MS);
  } while (ports.now() < endMs);
  throw new HoldfastError(
    'HF309',
    `the former host's controllers still live in the kernel ${DRAIN_MS / 1000} s after ${nqn} was removed; the new host has to wait for them`,
  );
}

async function listen(ports: Ports, nqn: string, listeners: readonly Listener[]): Promise<void> {
  try {
    await ports.nvmet.connectable(nqn, listeners);
  } catch (error) {
    const addresses = listeners.map((each) => `${each.ip} port ${each.port}`).join(', ');
    // The errno says it all (EADDRNOTAVAIL, EADDRINUSE); the message would repeat two long paths.
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new HoldfastError(
      'HF306',
      `the NVMe target can't listen on ${addresses} (${reason}); does spec.addresses of the StorageNode name an address of this node?`,
      { cause: error },
    );
  }
}

/** Gives all blocks back and proves it; where the pool can't discard, overwrites them and proves that. */
export async function erase(
  ports: Pick<Ports, 'disks' | 'lvm' | 'log'>,
  action: Omit<Extract<Action, { kind: 'erase-volume' }>, 'kind'>,
): Promise<void> {
  const { disks, lvm, log } = ports;
  const discarded = await disks.discard(action.devicePath).then(
    () => true,
    (error: unknown) => {
      log.warn('the volume takes no discards; overwriting it', { volume: action.name, error: String(error) });
      return false;
    },
  );
  if (!discarded || (await disks.mappedBytes(action.devNo)) > 0) {
    for (let at = 0; at < action.sizeBytes; at += ALLOCATE_STEP_BYTES) {
      await disks.zero(action.devicePath, at, Math.min(ALLOCATE_STEP_BYTES, action.sizeBytes - at));
    }
  }
  const at = await disks.firstNonZero(action.devicePath);
  if (at !== undefined) {
    throw new HoldfastError('HF314', `after the erase the byte at ${at} of ${action.devicePath} is not zero`);
  }
  await lvm.addTag(action.group, action.name, ERASED_TAG);
}
