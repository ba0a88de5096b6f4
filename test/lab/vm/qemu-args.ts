import type { GuestAssets } from '../assets/guest.ts';
import type { Qemu } from '../assets/qemu.ts';

export type Accelerator = 'tcg' | 'kvm';

/** What the saved state of a VM depends on, besides the files it boots from. */
export interface Hardware {
  readonly accelerator: Accelerator;
  readonly memoryMiB: number;
  /** Number of data disks: /dev/vdc, /dev/vdd, … */
  readonly dataDisks: number;
  /** More for the kernel command line, for example "nvme_core.multipath=N". */
  readonly kernelArgs: string;
  /** Of a VM with a flavour (flavour.ts): its key, virtual CPUs and room for translated code. */
  readonly flavour?: { readonly key: string; readonly cpus: number; readonly translationMiB: number };
}

export interface Backends {
  readonly tap: string;
  readonly mac: string;
  /** The read-only disk with our programs. */
  readonly appImage: string;
  readonly dataImages: readonly { readonly file: string; readonly serial: string }[];
  /** The disk of a VM with a flavour. `forget`: what is written is gone when QEMU ends, and the file stays as it is. */
  readonly flavourDisk?: { readonly file: string; readonly forget: boolean };
  readonly consoleFile: string;
  readonly ackLogFile: string;
  readonly qgaSocket: string;
  readonly qmpSocket: string;
}

/**
 * Where the guest's memory comes from: a plain cold boot; a cold boot in a file, to be saved; or that file, mapped
 * privately: what the guest changes stays its own, and what it doesn't is shared by all VMs through the page cache.
 */
export type Memory =
  | { readonly kind: 'plain' }
  | { readonly kind: 'template'; readonly file: string }
  | { readonly kind: 'resume'; readonly file: string };

const KERNEL_ARGS =
  'console=ttyS0 quiet mitigations=off nokaslr tsc=reliable no_timer_check panic=-1 8250.nr_uarts=1 random.trust_cpu=on ' +
  'audit=0 apparmor=0 nmi_watchdog=0 nowatchdog';

/** Node of a data disk in QEMU's block graph; its file node can be swapped for one that returns errors. */
export function diskNode(index: number): { readonly format: string; readonly file: string } {
  return { format: `disk${index}`, file: `file${index}` };
}

/** QEMU's arguments for one VM. */
export function qemuArgs(
  qemu: Qemu,
  guest: GuestAssets,
  name: string,
  hardware: Hardware,
  backends: Backends,
  memory: Memory,
): string[] {
  const flavour = hardware.flavour ?? { cpus: 1, translationMiB: 256 };
  return [
    ...qemu.baseArgs,
    ['-name', name, '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ['-accel', hardware.accelerator === 'kvm' ? 'kvm' : `tcg,thread=multi,tb-size=${flavour.translationMiB}`],
    ['-cpu', hardware.accelerator === 'kvm' ? 'host' : 'max', '-smp', `${flavour.cpus}`, '-m', `${hardware.memoryMiB}`],
    ...memoryArgs(memory, hardware.memoryMiB),
    ['-kernel', guest.vmlinux, '-initrd', guest.initrd],
    ['-append', `${KERNEL_ARGS} ${hardware.kernelArgs}`.trim()],
    ['-chardev', `file,id=console,path=${backends.consoleFile},append=on`, '-serial', 'chardev:console'],
    ...readOnlyDisk('root', guest.root),
    ...readOnlyDisk('app', backends.appImage),
    ...backends.dataImages.flatMap((image, index) => dataDisk(index, image.file, image.serial)),
    ...flavourDisk(backends.flavourDisk),
    ['-netdev', `tap,id=net0,ifname=${backends.tap},script=no,downscript=no,vhost=off`],
    ['-device', `virtio-net-pci,netdev=net0,mac=${backends.mac},romfile=`],
    ['-device', 'virtio-serial-pci'],
    ['-chardev', `socket,id=qga,path=${backends.qgaSocket},server=on,wait=off`],
    ['-device', 'virtserialport,chardev=qga,name=org.qemu.guest_agent.0'],
    ['-chardev', `file,id=acklog,path=${backends.ackLogFile},append=on`],
    ['-device', 'virtserialport,chardev=acklog,name=holdfast.log'],
    ['-device', 'virtio-rng-pci', '-device', 'vmgenid,guid=auto'],
    ['-qmp', `unix:${backends.qmpSocket},server=on,wait=off`],
    ...(memory.kind === 'resume' ? ['-incoming', 'defer'] : []),
  ].flat();
}

function memoryArgs(memory: Memory, memoryMiB: number): string[] {
  if (memory.kind === 'plain') return ['-machine', 'q35'];
  const access = memory.kind === 'template' ? 'share=on' : 'share=off,readonly=on,rom=off';
  return [
    ['-object', `memory-backend-file,id=ram,size=${memoryMiB}M,mem-path=${memory.file},${access}`],
    ['-machine', 'q35,memory-backend=ram'],
  ].flat();
}

function readOnlyDisk(id: string, file: string): string[] {
  return [
    ['-blockdev', `driver=file,node-name=${id}-file,filename=${file},read-only=on,locking=off`],
    ['-blockdev', `driver=raw,node-name=${id},file=${id}-file,read-only=on`],
    ['-device', `virtio-blk-pci,drive=${id}`],
  ].flat();
}

function flavourDisk(disk: Backends['flavourDisk']): string[] {
  if (disk === undefined) return [];
  const forget = disk.forget ? 'snapshot=on,file.locking=off' : 'snapshot=off';
  const drive = `if=none,id=flavour,file=${disk.file},format=raw,discard=unmap,cache=unsafe,${forget}`;
  return ['-drive', drive, '-device', 'virtio-blk-pci,drive=flavour'];
}

/** Errors are reported to the guest, never a reason to stop it: that is what a broken disk does. */
function dataDisk(index: number, file: string, serial: string): string[] {
  const node = diskNode(index);
  return [
    ['-blockdev', `driver=file,node-name=${node.file},filename=${file},discard=unmap,aio=threads`],
    ['-blockdev', `driver=raw,node-name=${node.format},file=${node.file},discard=unmap`],
    ['-device', `virtio-blk-pci,id=data${index},drive=${node.format},serial=${serial},werror=report,rerror=report`],
  ].flat();
}
