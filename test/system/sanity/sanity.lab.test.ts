import { cp, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { clusterBinaries } from '../../cluster/binaries.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import type { Vm } from '../../lab/vm/vm.ts';
import { terminalProgress } from '../../lab/progress.ts';
import { judge } from '../../sanity/judge.ts';
import { readGinkgo } from '../../sanity/report.ts';
import { token } from '../manifests.ts';
import { startSystem, storageReady, type System } from '../system.ts';

/** Many minutes: `make test-sanity`. What it says: all, mount or block. */
const wanted = process.env['HOLDFAST_SANITY'] ?? '';
const accessTypes = ['mount', 'block'].filter((type) => wanted === 'all' || wanted === type);
const isWanted = accessTypes.length > 0;
const MINUTE_MS = 60_000;
const SUITE_MS = 40 * MINUTE_MS;
// csi-sanity may have to be built first.
jest.setTimeout(SUITE_MS + 5 * MINUTE_MS);

const CONTROLLER = 'unix:///run/holdfast/csi-controller.sock';
const MIB = 1024 * 1024;
const VOLUME_BYTES = 64 * MIB;
const EXPANDED_BYTES = 96 * MIB;
/** Four fit the memory of a guest. */
const MAX_VOLUMES = 4;

/*
 * The CSI project's own suite against the real driver on real kernels: csi-sanity runs in a client VM and calls the node
 * service and a controller service there. What it makes is placed, connected, mirrored, formatted, mounted and erased.
 */

let appDir: string;
let lab: Lab;
let system: System;

beforeAll(async () => {
  if (!isWanted) return;
  const { 'csi-sanity': sanity } = await clusterBinaries(terminalProgress(process.stderr));
  appDir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-sanity-'));
  await cp('dist', appDir, { recursive: true });
  await cp(sanity, path.join(appDir, 'csi-sanity'));
  lab = await startLab({ appDir, clients: 1, storage: 2, clientMemoryMiB: 1024 });
  system = await startSystem(lab, { clientAgentArgs: [`--max-volumes=${MAX_VOLUMES}`, '--topology-keys=zone'] });
  await storageReady(system);
  await startController(lab.vm('c1'));
});

/** A controller beside the node service, where csi-sanity is. */
async function startController(vm: Vm): Promise<void> {
  const kubeconfig = '/etc/holdfast/csi-controller.kubeconfig';
  const own = await token(system.connection, 'holdfast-system', 'csi-controller');
  await vm.writeFile(kubeconfig, lab.controlPlane.kubeconfigForToken(own), 0o600);
  const args = `--mode controller --endpoint ${CONTROLLER} --kubeconfig ${kubeconfig} --lease-duration 5s`;
  await vm.spawn(`node /opt/holdfast/csi-driver.mjs ${args}`, { logFile: '/var/log/csi-controller.log' });
  const answers = `node /opt/holdfast/csi-call.mjs --endpoint ${CONTROLLER} Probe | grep -q true`;
  await vm.exec(`for i in $(seq 30); do ${answers} && exit 0; sleep 1; done; cat /var/log/csi-controller.log; exit 1`, {
    timeoutMs: 2 * MINUTE_MS,
  });
}

afterAll(async () => {
  await system?.stop();
  await lab?.stop();
  if (appDir !== undefined) await rm(appDir, { recursive: true, force: true });
});

(isWanted ? describe : describe.skip)('csi-sanity on real kernels', () => {
  test.each(accessTypes)('it has no complaint about %s volumes', async (accessType) => {
    const client = lab.vm('c1');
    const report = `/tmp/${accessType}.json`;
    const args = [
      '--csi.endpoint=unix:///run/holdfast/csi.sock',
      `--csi.controllerendpoint=${CONTROLLER}`,
      `--csi.mountdir=/tmp/${accessType}-target`,
      `--csi.stagingdir=/tmp/${accessType}-staging`,
      `--csi.testvolumeaccesstype=${accessType}`,
      `--csi.testvolumesize=${VOLUME_BYTES}`,
      `--csi.testvolumeexpandsize=${EXPANDED_BYTES}`,
      '--csi.testnodevolumeattachlimit',
      `--ginkgo.json-report=${report}`,
      `--ginkgo.timeout=${SUITE_MS / MINUTE_MS}m`,
      '--ginkgo.no-color',
    ];
    const done = await client.exec(`/opt/holdfast/csi-sanity ${args.join(' ')} > /tmp/${accessType}.log 2>&1`, {
      timeoutMs: SUITE_MS + MINUTE_MS,
      check: false,
    });
    const json = (await client.readFile(report)).toString();
    const faults = await judge(`kernel/${accessType}`, readGinkgo(json));
    if (faults.length > 0) process.stderr.write(await system.guestLog(client));
    expect(faults).toEqual([]);
    expect(done.code).toBe(0);
  });

  // What the suite does not try.
  test('a volume is mounted with its options, read-only where it is asked for, and the node tells where it is', async () => {
    const client = lab.vm('c1');
    expect(await system.csi(client, 'NodeGetInfo', {})).toMatchObject({
      nodeId: 'c1',
      maxVolumesPerNode: String(MAX_VOLUMES),
      accessibleTopology: { segments: { zone: client.zone, 'csi.holdfast.dev/client': 'true' } },
    });
    const room = await system.csi('controller', 'GetCapacity', { parameters: { provisioning: 'Thick' } });
    expect(Number(room['maximumVolumeSize'])).toBeGreaterThan(VOLUME_BYTES);

    const use = (...mountFlags: readonly string[]) => ({
      mount: { fsType: 'ext4', mountFlags },
      accessMode: { mode: 'SINGLE_NODE_WRITER' },
    });
    const volumeId = 'options';
    const volumeCapability = use('noatime');
    const range = { requiredBytes: String(VOLUME_BYTES) };
    const create = { name: volumeId, capacityRange: range, volumeCapabilities: [volumeCapability] };
    await expect(
      system.csi('controller', 'CreateVolume', { ...create, volumeCapabilities: [use('barrier=0')] }),
    ).rejects.toThrow('could be lost with the power');
    await system.csi('controller', 'CreateVolume', create);
    const { publishContext } = await system.csi('controller', 'ControllerPublishVolume', {
      volumeId,
      nodeId: 'c1',
      volumeCapability,
    });
    const staged = { volumeId, publishContext, stagingTargetPath: '/tmp/options-staging', volumeCapability };
    await system.csi(client, 'NodeStageVolume', staged);
    await system.csi(client, 'NodePublishVolume', { ...staged, targetPath: '/tmp/options-target-rw' });
    await system.csi(client, 'NodePublishVolume', { ...staged, targetPath: '/tmp/options-target-ro', readonly: true });
    await client.exec('echo written > /tmp/options-target-rw/file');
    expect((await client.exec('cat /tmp/options-target-ro/file')).stdout).toBe('written\n');
    const refused = await client.exec('echo more > /tmp/options-target-ro/file', { check: false });
    expect(refused.stderr).toContain('Read-only file system');
    const options = (await client.exec('grep /tmp/options-target-ro /proc/mounts')).stdout.split(' ')[3]?.split(',');
    expect(options).toEqual(expect.arrayContaining(['ro', 'noatime', 'errors=remount-ro']));

    for (const targetPath of ['/tmp/options-target-ro', '/tmp/options-target-rw']) {
      await system.csi(client, 'NodeUnpublishVolume', { volumeId, targetPath });
    }
    await system.csi(client, 'NodeUnstageVolume', { volumeId, stagingTargetPath: '/tmp/options-staging' });
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId, nodeId: 'c1' });
    await system.csi('controller', 'DeleteVolume', { volumeId });
  });

  // Whatever the suite has made, it has deleted again, and so have the storage nodes.
  test('nothing is left', async () => {
    const deadline = performance.now() + MINUTE_MS;
    const left = async (): Promise<readonly string[]> => {
      const volumes = (await system.volumes.list()).items.map(({ metadata }) => metadata.name);
      const replicas = (await system.replicas.list()).items.map(({ metadata }) => metadata.name);
      const mounts = (
        await lab.vm('c1').exec('grep -c "/tmp/.*-\\(target\\|staging\\)" /proc/mounts || true')
      ).stdout.trim();
      const arrays = (await lab.vm('c1').exec('ls -d /sys/block/md*/md 2>/dev/null | wc -l')).stdout.trim();
      return [
        ...volumes,
        ...replicas,
        ...(mounts === '0' ? [] : [`${mounts} mounts`]),
        ...(arrays === '0' ? [] : [`${arrays} arrays`]),
      ];
    };
    while ((await left()).length > 0 && performance.now() < deadline)
      await new Promise((wake) => setTimeout(wake, 1000));
    expect(await left()).toEqual([]);
  });
});
