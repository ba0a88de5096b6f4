import { hostId } from '../../lib/api/names.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { System } from '../system/system.ts';
import { capability, CSI } from '../system/csi.ts';

const RUN_SECONDS = 4;
const SIZE_BYTES = 64 * 1024 * 1024;
const WORKING_SET_MIB = 16;
/** Holdfast, mdadm, mdadm, Holdfast, and so on: a machine that grows slower hits both alike. */
const ROUNDS = 8;

export interface BenchResult {
  readonly holdfastIops: number;
  readonly mdadmIops: number;
  readonly ratio: number;
  /** Every run's figure, in order. */
  readonly runs: { readonly holdfast: readonly number[]; readonly mdadm: readonly number[] };
}

/**
 * Throughput through Holdfast's device against a hand-made mdadm array (native metadata, internal bitmap of the same chunk
 * size) over the same legs: same logical volumes, same exports, same host name, same queues, in turn. Only its controllers
 * are more patient: no gate holds an error of a busy machine's network back from it.
 *
 * The working set is written once before each measured run. Otherwise the bitmaps differ: a fresh mdadm array has all its
 * bits set for the first seconds and needs no write to its bitmap, ours starts with none.
 */
export async function bench(
  system: System,
  client: Vm,
  note: (text: string) => void,
  rounds = ROUNDS,
): Promise<BenchResult> {
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
    await system.csi('controller', 'ControllerPublishVolume', CSI.publish(name, client.name, 'block'));
    holdfast.push(await fio(client, `/dev/holdfast/${name}`));
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: name, nodeId: client.name });
  };
  const byHand = (): Promise<void> =>
    withMdadm(system, client, name, async () => void mdadm.push(await fio(client, '/dev/md77')));
  for (let round = 0; round < rounds; round++) {
    const turns = round % 2 === 0 ? [ours, byHand] : [byHand, ours];
    for (const turn of turns) {
      note(`fio, round ${round + 1} of ${rounds}: ${turn === ours ? 'through Holdfast' : 'a hand-made mdadm array'}`);
      await turn();
    }
  }
  await system.csi('controller', 'DeleteVolume', { volumeId: name });
  const [holdfastIops, mdadmIops] = [median(holdfast), median(mdadm)];
  return { holdfastIops, mdadmIops, ratio: holdfastIops / mdadmIops, runs: { holdfast, mdadm } };
}

/** The middle one: a run in which the machine was busy with something else says nothing. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[middle - 1], sorted[middle]];
  if (high === undefined) return Number.NaN;
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2;
}

async function fio(client: Vm, device: string): Promise<number> {
  const common = `--filename=${device} --ioengine=libaio --direct=1 --iodepth=8 --size=${WORKING_SET_MIB}m`;
  const { stdout } = await client.exec(
    `fio --name=fill ${common} --rw=write --bs=64k >/dev/null && fio --name=measure ${common} --rw=randwrite --bs=4k ` +
      `--time_based --runtime=${RUN_SECONDS} --output-format=json`,
    { timeoutMs: 60_000 },
  );
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: { write: { iops: number } }[] };
  return report.jobs[0]?.write.iops ?? 0;
}

/** Connects the legs of a released volume by hand, as the host they were last given to, and puts mdadm on them. */
async function withMdadm(system: System, client: Vm, name: string, measure: () => Promise<void>): Promise<void> {
  const { items } = await system.replicas.list({ fieldSelector: `spec.volume=${name}` });
  const legs = items.map(({ spec, status }) => ({ hostNqn: spec.hostNqn, nqn: status?.nqn, address: status?.address }));
  const connects = legs.map(
    ({ hostNqn, nqn, address }) =>
      `exec 3<>/dev/nvme-fabrics; echo -n "transport=tcp,traddr=${address},trsvcid=4420,nqn=${nqn},hostnqn=${hostNqn},` +
      `hostid=${hostId(client.name)},ctrl_loss_tmo=-1,reconnect_delay=1,keep_alive_tmo=5,nr_io_queues=2,queue_size=64" >&3; ` +
      `read -r r <&3; exec 3>&-; i=\${r#instance=}; CTRL="$CTRL /sys/class/nvme/nvme\${i%%,*}"`,
  );
  const script = `set -e; CTRL=; ${connects.join('; ')}; sleep 1
D=; for c in $CTRL; do q=$(cat $c/subsysnqn); for b in /sys/block/nvme*n1; do [ "$(cat $b/device/subsysnqn)" = "$q" ] && [ ! -e $b/hidden -o "$(cat $b/hidden)" = 0 ] && D="$D /dev/\${b##*/}"; done; done
echo "$CTRL" > /run/bench.ctrl
mdadm --create /dev/md77 --run --level=1 --metadata=1.2 --bitmap=internal --bitmap-chunk=64K --raid-devices=2 --assume-clean $D`;
  await client.exec(script, { timeoutMs: 60_000 });
  try {
    await measure();
  } finally {
    await client.exec(
      'D=$(ls /sys/block/md77/slaves | sed s,^,/dev/,); mdadm --stop /dev/md77; mdadm --zero-superblock $D; ' +
        'for c in $(cat /run/bench.ctrl); do echo 1 > $c/delete_controller; done',
      { timeoutMs: 60_000 },
    );
  }
}
