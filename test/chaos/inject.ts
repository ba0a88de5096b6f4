import { LabError } from '../lab/errors.ts';
import { shiftClockCommand } from '../lab/vm/clock.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { System } from '../system/system.ts';
import type { Fault, Program, Way } from './schedule.ts';
import type { Workload } from './workload.ts';

/** What faults are done to. */
export interface Scene {
  readonly system: System;
  /** The use of the round's volume. */
  readonly workload: Workload;
  /** The use of every volume, that one too. */
  readonly workloads: readonly Workload[];
  /** The storage VMs of the replicas of the round's volume, as they were when the round began. */
  readonly legs: readonly Vm[];
  readonly note: (text: string) => void;
  /** VMs whose CPU stands still: they answer nobody. */
  readonly stalled: Set<Vm>;
}

/** Ends a fault. */
type Undo = () => Promise<void>;

const PATTERNS: Readonly<Record<'client-agent' | 'storage-agent', string>> = {
  'client-agent': '[c]si-driver.mjs',
  'storage-agent': '[s]torage-agent.mjs',
};
/** How long Kubernetes takes to give up on a client, shortened. */
const DETECTION_MS = 2000;
const FILLER = 'chaos-filler';

/** Makes a fault happen. @returns what ends it; @throws when it can't be done now, for example because the VM is off */
export async function inject(scene: Scene, fault: Fault): Promise<Undo> {
  const { system, workload } = scene;
  const { faults } = system.lab;
  switch (fault.kind) {
    case 'storage-power': {
      const vm = legVm(scene, fault.leg);
      scene.stalled.delete(vm);
      await faults.powerOff(vm);
      return () => powerOn(scene, vm);
    }
    case 'client-power': {
      const vm = workload.client();
      await faults.powerOff(vm);
      moveSoon(scene, vm);
      return () => powerOn(scene, vm);
    }
    case 'all-power': {
      const { vms } = system.lab;
      scene.stalled.clear();
      await Promise.all([
        ...vms.map((vm) => faults.powerOff(vm)),
        faults.stopApiServer('crash'),
        system.stopOperator(),
      ]);
      return async () => {
        await Promise.all([faults.startApiServer(), ...vms.map((vm) => faults.powerOn(vm))]);
        await Promise.all([system.startOperator(), ...vms.map((vm) => ensureAgent(scene, vm))]);
      };
    }
    case 'leg-cut': {
      const vm = legVm(scene, fault.leg);
      return await cutBetween(scene, workload.client(), vm, fault.way);
    }
    case 'client-api-cut':
      return await cutBetween(scene, workload.client(), 'control-plane', fault.way);
    case 'storage-api-cut':
      return await cutBetween(scene, legVm(scene, fault.leg), 'control-plane', fault.way);
    case 'client-cut': {
      const vm = workload.client();
      await faults.cutLink(vm);
      if (fault.failOver) moveSoon(scene, vm);
      return () => faults.restoreLink(vm);
    }
    case 'kill':
      return await kill(scene, fault.program, fault.leg);
    case 'freeze': {
      const vm = fault.program === 'client-agent' ? workload.client() : legVm(scene, fault.leg);
      await faults.killProgram(answering(scene, vm), PATTERNS[fault.program], 'STOP');
      return () => after(scene, vm, THAW);
    }
    case 'api-down':
      await faults.stopApiServer(fault.how);
      return () => faults.startApiServer();
    case 'disk-errors': {
      const vm = legVm(scene, fault.leg);
      await faults.breakDisk(vm, { requests: fault.requests });
      return () => (vm.running() ? faults.repairDisk(vm) : Promise.resolve());
    }
    case 'disk-slow': {
      const vm = legVm(scene, fault.leg);
      await throttle(vm, 10);
      return () => (vm.running() ? throttle(vm, 0) : Promise.resolve());
    }
    case 'dm-error':
    case 'dm-flakey':
    case 'dm-delay': {
      const vm = answering(scene, legVm(scene, fault.leg));
      await vm.exec(mapperScript(fault));
      return () => after(scene, vm, MEND_MAPPER);
    }
    case 'pool-full': {
      const vm = answering(scene, legVm(scene, fault.leg));
      await vm.exec(FILL, { timeoutMs: 60_000 });
      return () => after(scene, vm, EMPTY_POOL);
    }
    case 'clock-jump': {
      const vm = answering(scene, fault.where === 'client' ? workload.client() : legVm(scene, fault.leg));
      await vm.exec(shiftClockCommand(fault.byMs));
      return () => setClock(scene, vm);
    }
    case 'storage-stall': {
      const vm = legVm(scene, fault.leg);
      await vm.pause();
      scene.stalled.add(vm);
      return () => unstall(scene, vm);
    }
    case 'move':
      await workload.move('in order');
      return () => Promise.resolve();
  }
}

/** Everything as it should be, whatever was wrong: machines, links, disks, clocks, programs, the API server. */
export async function mendAll(scene: Scene): Promise<void> {
  const { system } = scene;
  const { lab } = system;
  await lab.faults.startApiServer();
  await Promise.all([
    ...lab.vms.map((vm) => mendVm(scene, vm)),
    system.isRunning('operator') ? Promise.resolve() : system.startOperator(),
    system.isRunning('csi-controller') ? Promise.resolve() : system.startController(),
  ]);
}

async function mendVm(scene: Scene, vm: Vm): Promise<void> {
  const { faults } = scene.system.lab;
  await unstall(scene, vm);
  await faults.powerOn(vm);
  await Promise.all([
    faults.restoreLink(vm),
    setClock(scene, vm),
    ...(vm.role === 'storage' ? [faults.repairDisk(vm), throttle(vm, 0)] : []),
  ]);
  // One script for all: each command of its own costs a guest that is busy half a second.
  const scripts = [THAW, ...(vm.role === 'storage' ? [MEND_MAPPER, EMPTY_POOL] : [syncSpeed('at once')])];
  await vm.exec(['set -e', ...scripts.map((text) => `(${text})`)].join('\n'), { timeoutMs: 90_000 });
  await ensureAgent(scene, vm);
}

/** Where the mapping that a fault replaced is kept, in the guest. */
const MAPPING = '/run/chaos-mapping';

/** Lays another target below the thin pool's data, in place of the linear ones that LVM made (dm-flakey(8), dm-delay). */
function mapperScript(fault: Extract<Fault, { kind: 'dm-error' | 'dm-flakey' | 'dm-delay' }>): string {
  const targets = {
    'dm-error': '$1, $2, "error"',
    'dm-flakey': '$1, $2, "flakey", $4, $5, 1, 1',
    'dm-delay': `$1, $2, "delay", $4, $5, ${fault.kind === 'dm-delay' ? fault.byMs : 0}`,
  } as const;
  return `
    set -e
    modprobe -a dm-flakey dm-delay
    device=$(dmsetup ls | awk '/_tdata/{print $1; exit}')
    [ -e ${MAPPING} ] || dmsetup table "$device" > ${MAPPING}
    grep -qv linear ${MAPPING} && { cat ${MAPPING}; exit 1; }
    awk '{print ${targets[fault.kind]}}' ${MAPPING} | dmsetup load "$device"
    dmsetup suspend --nolockfs "$device" && dmsetup resume "$device"`;
}

const MEND_MAPPER = `
  set -e
  [ -e ${MAPPING} ] || exit 0
  device=$(dmsetup ls | awk '/_tdata/{print $1; exit}')
  dmsetup load "$device" < ${MAPPING}
  dmsetup suspend --nolockfs "$device" && dmsetup resume "$device"
  rm ${MAPPING}`;

/**
 * How fast md copies, on a client: slowly, so that a fault meets a copy under way, or at once, whatever the writers do
 * (md(4), speed_limit_min and speed_limit_max, in KiB/s).
 */
export const syncSpeed = (how: 'slowly' | 'at once'): string =>
  how === 'slowly'
    ? 'cd /proc/sys/dev/raid && echo 100 > speed_limit_min && echo 2000 > speed_limit_max'
    : 'cd /proc/sys/dev/raid && echo 200000 > speed_limit_max && echo 200000 > speed_limit_min';

/** Returns when the array of a volume copies onto a leg. @throws LabError when it doesn't within 30 s */
export async function untilSyncing(vm: Vm, array: string): Promise<void> {
  const file = `/sys/block/${array}/md/sync_action`;
  const script = `for i in $(seq 300); do grep -qE 'recover|resync' ${file} 2>/dev/null && exit 0; sleep 0.1; done; exit 1`;
  const { code } = await vm.exec(script, { check: false, timeoutMs: 60_000 });
  if (code !== 0) throw new LabError(`${vm.name}: ${array} did not copy onto a leg within 30 s`);
}

/** The pool's free space is taken up to the last block, by a volume of nobody's. */
const FILL = `
set -e
pool=$(lvs --noheadings -o vg_name,lv_name -S 'lv_attr=~^t' | awk '{print $1"/"$2; exit}')
vg=\${pool%%/*}
lvcreate -q -V 2G -T $pool -n ${FILLER} >/dev/null
dm=$(lvs --noheadings -o lv_kernel_minor $vg/${FILLER} | tr -d ' ')
# used and all blocks of the pool, from dm-thin's own status line
tpool=$(dmsetup ls | awk '/tpool/{print $1; exit}')
free=$(dmsetup status "$tpool" | awk '{split($6, data, "/"); print data[2] - data[1]}')
sectors=$(dmsetup table "$tpool" | awk '{print $6}')
dd if=/dev/zero of=/dev/dm-$dm bs=$((sectors * 512)) count=$free oflag=direct status=none
`;

const EMPTY_POOL = `
  vg=$(lvs --noheadings -o vg_name -S lv_name=${FILLER} 2>/dev/null | tr -d ' ')
  [ -z "$vg" ] || lvremove -qfy $vg/${FILLER} >/dev/null`;

/** Ends a fault with a script; a machine that is off or stands still is mended later. */
async function after({ stalled }: Scene, vm: Vm, script: string): Promise<void> {
  if (vm.running() && !stalled.has(vm)) await vm.exec(script, { timeoutMs: 60_000 });
}

function legVm({ legs }: Scene, leg: number): Vm {
  const vm = legs[leg % legs.length];
  if (!vm) throw new LabError('the volume has no replicas');
  return vm;
}

function answering({ stalled }: Scene, vm: Vm): Vm {
  if (stalled.has(vm)) throw new LabError(`${vm.name} stands still`);
  return vm;
}

async function cutBetween(scene: Scene, a: Vm, b: Vm | 'control-plane', way: Way): Promise<Undo> {
  const { faults } = scene.system.lab;
  answering(scene, a);
  if (b !== 'control-plane') answering(scene, b);
  await faults.cutBetween(a, b, way === 'both' ? undefined : { from: way === 'sent' ? a : b });
  return async () => {
    if (!scene.stalled.has(a) && (b === 'control-plane' || !scene.stalled.has(b))) await faults.restoreBetween(a, b);
  };
}

async function kill(scene: Scene, program: Program, leg: number): Promise<Undo> {
  const { system, workload } = scene;
  switch (program) {
    case 'operator':
      await system.stopOperator();
      return () => system.startOperator();
    case 'controller':
      await system.stopController();
      return () => system.startController();
    case 'client-agent':
    case 'storage-agent': {
      const vm = answering(scene, program === 'client-agent' ? workload.client() : legVm(scene, leg));
      await system.lab.faults.killProgram(vm, PATTERNS[program]);
      return () => ensureAgent(scene, vm);
    }
    case 'writer': {
      const vm = workload.client();
      await system.lab.faults.killProgram(vm, workload.writerPattern);
      return () => workload.ensureWriting();
    }
  }
}

/** What Kubernetes does with the volumes of a node that is gone for long enough. */
function moveSoon({ workloads, note }: Scene, dead: Vm): void {
  setTimeout(() => {
    for (const workload of workloads.filter((each) => each.client() === dead)) {
      workload.move('by force').catch((error: unknown) => note(`the move failed: ${String(error)}`));
    }
  }, DETECTION_MS);
}

async function powerOn(scene: Scene, vm: Vm): Promise<void> {
  await scene.system.lab.faults.powerOn(vm);
  await ensureAgent(scene, vm);
}

/** Starts a VM's agent when none runs, as systemd would. */
export async function ensureAgent({ system, stalled }: Pick<Scene, 'system' | 'stalled'>, vm: Vm): Promise<void> {
  if (!vm.running() || stalled.has(vm)) return;
  const pattern = PATTERNS[vm.role === 'client' ? 'client-agent' : 'storage-agent'];
  const { code } = await vm.exec(`pgrep -f '${pattern}'`, { check: false });
  if (code === 0) return;
  await (vm.role === 'client' ? system.startClientAgent(vm) : system.startStorageAgent(vm));
}

const THAW = `pkill -CONT -f '\\.mjs' || true`;

async function unstall({ stalled }: Scene, vm: Vm): Promise<void> {
  if (stalled.delete(vm) && vm.running()) await vm.unpause();
}

async function setClock({ stalled }: Scene, vm: Vm): Promise<void> {
  if (!vm.running() || stalled.has(vm)) return;
  for (let attempt = 0; attempt < 3; attempt++) {
    const { offsetMs, uncertaintyMs } = await vm.clock();
    if (Math.abs(offsetMs) <= uncertaintyMs + 2) return;
    await vm.exec(shiftClockCommand(-offsetMs));
  }
}

/** Limits a data disk to so many requests a second; 0 ends it (QMP, block_set_io_throttle). */
async function throttle(vm: Vm, iops: number): Promise<void> {
  const rest = { bps: 0, bps_rd: 0, bps_wr: 0, iops_rd: 0, iops_wr: 0 };
  await vm.qmp().execute('block_set_io_throttle', { id: '/machine/peripheral/data0/virtio-backend', iops, ...rest });
}
