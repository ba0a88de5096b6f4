import { LabError } from '../lab/errors.ts';
import { shiftClockCommand } from '../lab/vm/clock.ts';
import type { Vm } from '../lab/vm/vm.ts';
import type { System } from '../system/system.ts';
import type { Fault, Program, Way } from './schedule.ts';
import type { Workload } from './workload.ts';

/** What faults are done to. */
export interface Scene {
  readonly system: System;
  readonly workload: Workload;
  /** The storage VMs of the volume's replicas, as they were when the round began. */
  readonly legs: readonly Vm[];
  readonly note: (text: string) => void;
  /** VMs whose CPU stands still: they answer nobody. */
  readonly stalled: Set<Vm>;
}

/** Ends a fault. */
type Undo = () => Promise<void>;

const PATTERNS: Readonly<Record<Exclude<Program, 'operator' | 'controller'>, string>> = {
  'client-agent': '[c]si-driver.mjs',
  'storage-agent': '[s]torage-agent.mjs',
  writer: '[w]riter.mjs write',
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
      moveSoon(scene);
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
      if (fault.failOver) moveSoon(scene);
      return () => faults.restoreLink(vm);
    }
    case 'kill':
      return await kill(scene, fault.program, fault.leg);
    case 'freeze': {
      const vm = fault.program === 'client-agent' ? workload.client() : legVm(scene, fault.leg);
      await faults.killProgram(answering(scene, vm), PATTERNS[fault.program], 'STOP');
      return () => thaw(scene, vm);
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
    case 'pool-full': {
      const vm = answering(scene, legVm(scene, fault.leg));
      await vm.exec(FILL, { timeoutMs: 60_000 });
      return () => emptyPool(scene, vm);
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
  await Promise.all(
    lab.vms.map(async (vm) => {
      await unstall(scene, vm);
      await lab.faults.powerOn(vm);
      await lab.faults.restoreLink(vm);
      await setClock(scene, vm);
      if (vm.role === 'storage') {
        await lab.faults.repairDisk(vm);
        await throttle(vm, 0);
      }
      await thaw(scene, vm);
      await ensureAgent(scene, vm);
      if (vm.role === 'storage') await emptyPool(scene, vm);
    }),
  );
  if (!system.isRunning('operator')) await system.startOperator();
  if (!system.isRunning('csi-controller')) await system.startController();
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

async function emptyPool(scene: Scene, vm: Vm): Promise<void> {
  if (!vm.running() || scene.stalled.has(vm)) return;
  const found = `lvs --noheadings -o vg_name -S lv_name=${FILLER} 2>/dev/null | tr -d ' '`;
  const script = `vg=$(${found}); [ -z "$vg" ] || lvremove -qfy $vg/${FILLER} >/dev/null`;
  await vm.exec(script, { timeoutMs: 60_000 });
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
      await system.lab.faults.killProgram(vm, PATTERNS.writer);
      return () => workload.ensureWriting();
    }
  }
}

/** What Kubernetes does when a node is gone for long enough. */
function moveSoon({ workload, note }: Scene): void {
  setTimeout(() => {
    workload.move('by force').catch((error: unknown) => note(`the move failed: ${String(error)}`));
  }, DETECTION_MS);
}

async function powerOn(scene: Scene, vm: Vm): Promise<void> {
  await scene.system.lab.faults.powerOn(vm);
  await ensureAgent(scene, vm);
}

/** Starts a VM's agent when none runs, as systemd would. */
async function ensureAgent({ system, stalled }: Scene, vm: Vm): Promise<void> {
  if (!vm.running() || stalled.has(vm)) return;
  const pattern = PATTERNS[vm.role === 'client' ? 'client-agent' : 'storage-agent'];
  const { code } = await vm.exec(`pgrep -f '${pattern}'`, { check: false });
  if (code === 0) return;
  await (vm.role === 'client' ? system.startClientAgent(vm) : system.startStorageAgent(vm));
}

async function thaw({ stalled }: Scene, vm: Vm): Promise<void> {
  if (!vm.running() || stalled.has(vm)) return;
  await vm.exec(`pkill -CONT -f '\\.mjs'`, { check: false });
}

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
