import { hostId } from '../../lib/api/names.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { System } from '../system/system.ts';
import { capability, CSI } from './csi.ts';

/** Runs so many seconds each, in turn: Holdfast, mdadm, mdadm, Holdfast. */
const RUN_SECONDS = 5;
const SIZE_BYTES = 64 * 1024 * 1024;

export interface BenchResult {
  readonly holdfastIops: number;
  readonly mdadmIops: number;
  readonly ratio: number;
}

/**
 * Throughput through Holdfast's device against a hand-made mdadm array (native metadata, internal bitmap of the same chunk
 * size) over the same legs: same logical volumes, same exports, same host name, same connect options, in turn.
 */
export async function bench(system: System, client: Vm, note: (text: string) => void): Promise<BenchResult> {
  const name = 'bench';
  await system.csi('controller', 'CreateVolume', {
    name,
    capacityRange: { requiredBytes: String(SIZE_BYTES) },
    volumeCapabilities: [capability('block')],
    parameters: { replicas: '2', placement: 'distinct(zone)' },
  });
  const holdfast: number[] = [];
  const mdadm: number[] = [];
  const ours = async (): Promise<void> => {
    note('fio through Holdfast');
    await system.csi('controller', 'ControllerPublishVolume', CSI.publish(name, client.name, 'block'));
    holdfast.push(await fio(client, `/dev/holdfast/${name}`));
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: name, nodeId: client.name });
  };
  const byHand = async (): Promise<void> => {
    note('fio through a hand-made mdadm array on the same legs');
    mdadm.push(await withMdadm(system, client, name, () => fio(client, '/dev/md77')));
  };
  await ours();
  await byHand();
  await byHand();
  await ours();
  await system.csi('controller', 'DeleteVolume', { volumeId: name });
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  return { holdfastIops: mean(holdfast), mdadmIops: mean(mdadm), ratio: mean(holdfast) / mean(mdadm) };
}

async function fio(client: Vm, device: string): Promise<number> {
  const { stdout } = await client.exec(
    `fio --name=b --filename=${device} --rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio --direct=1 --time_based ` +
      `--runtime=${RUN_SECONDS} --ramp_time=1 --size=48m --output-format=json`,
    { timeoutMs: 60_000 },
  );
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: { write: { iops: number } }[] };
  return report.jobs[0]?.write.iops ?? 0;
}

/** Connects the legs of a released volume by hand, as the host they were last given to, and puts mdadm on them. */
async function withMdadm(system: System, client: Vm, name: string, measure: () => Promise<number>): Promise<number> {
  const { items } = await system.replicas.list({ fieldSelector: `spec.volume=${name}` });
  const legs = items.map(({ spec, status }) => ({ hostNqn: spec.hostNqn, nqn: status?.nqn, address: status?.address }));
  const connects = legs.map(
    ({ hostNqn, nqn, address }) =>
      `exec 3<>/dev/nvme-fabrics; echo -n "transport=tcp,traddr=${address},trsvcid=4420,nqn=${nqn},hostnqn=${hostNqn},` +
      `hostid=${hostId(client.name)},ctrl_loss_tmo=-1,reconnect_delay=1,keep_alive_tmo=1,fast_io_fail_tmo=1,nr_io_queues=2,queue_size=64" >&3; ` +
      `read -r r <&3; exec 3>&-; i=\${r#instance=}; CTRL="$CTRL /sys/class/nvme/nvme\${i%%,*}"`,
  );
  const script = `set -e; CTRL=; ${connects.join('; ')}; sleep 1
D=; for c in $CTRL; do q=$(cat $c/subsysnqn); for b in /sys/block/nvme*n1; do [ "$(cat $b/device/subsysnqn)" = "$q" ] && [ ! -e $b/hidden -o "$(cat $b/hidden)" = 0 ] && D="$D /dev/\${b##*/}"; done; done
echo "$CTRL" > /run/bench.ctrl
mdadm --create /dev/md77 --run --level=1 --metadata=1.2 --bitmap=internal --bitmap-chunk=64K --raid-devices=2 --assume-clean $D`;
  await client.exec(script, { timeoutMs: 60_000 });
  try {
    return await measure();
  } finally {
    await client.exec(
      'D=$(ls /sys/block/md77/slaves | sed s,^,/dev/,); mdadm --stop /dev/md77; mdadm --zero-superblock $D; ' +
        'for c in $(cat /run/bench.ctrl); do echo 1 > $c/delete_controller; done',
      { timeoutMs: 60_000 },
    );
  }
}
