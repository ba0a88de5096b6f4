import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { LabError } from '../errors.ts';
import { run } from '../process.ts';
import { BACKPORTS } from './debian.ts';
import { unlz4 } from './lz4.ts';

/** Modules that the initramfs loads, before there is a root. */
const BOOT_MODULES = ['virtio_blk', 'virtio_net', 'virtio-rng', 'erofs', 'overlay'];

/** Modules that the guest's root holds. Without one of these the lab is not the lab. */
const NEEDED_MODULES = [
  ['raid1', 'dm-mod', 'dm-thin-pool', 'dm-snapshot', 'dm-log-writes', 'dm-delay', 'dm-flakey'],
  ['dm-multipath', 'dm-round-robin', 'dm-queue-length', 'dm-service-time'],
  ['nvme-tcp', 'nvme-loop', 'nvmet', 'nvmet-tcp', 'configfs', 'loop', 'brd', 'ext4', 'xfs', 'softdog'],
  ['sch_netem', 'sch_ingress', 'sch_prio', 'cls_flower', 'cls_matchall', 'act_gact'],
].flat();

/** Modules that are good to have: some kernels have them built in or not at all. */
const OTHER_MODULES = [
  ['md-mod', 'raid10', 'dm-raid', 'dm-crypt', 'dm-integrity', 'dm-clone', 'dm-writecache', 'dm-error', 'dm-dust'],
  [
    'nvme',
    'nvme-core',
    'nvme-fabrics',
    'nvme-auth',
    'nvme-keyring',
    'null_blk',
    'ublk_drv',
    'nbd',
    'cls_u32',
    'sch_tbf',
  ],
  ['nf_tables', 'nft_ct', 'fuse', 'tun', 'bridge', 'veth', 'dummy', 'af_packet', 'tls', 'gcm', 'ccm', 'hmac'],
  [
    'sha256_generic',
    'sha512_generic',
    'dh_generic',
    'ecdh_generic',
    'crc32c_generic',
    'crc32c-intel',
    'crct10dif-pclmul',
  ],
  ['virtio_balloon', 'virtio_console', 'virtio_pci', 'libcrc32c', 'crc64-rocksoft', 't10-pi', 'nls_utf8'],
].flat();

/** The suites of Debian whose kernel a guest can run: 6.1, 6.12, 6.12, and the newest. */
const KERNEL_SUITES = ['bookworm', BACKPORTS, 'trixie', 'trixie-backports', 'forky', 'sid'];

/** The suite that the guest's kernel comes from: HOLDFAST_LAB_KERNEL, else bookworm-backports. Throws LabError. */
export function kernelSuite(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const suite = env['HOLDFAST_LAB_KERNEL'] ?? '';
  if (suite === '') return BACKPORTS;
  if (!KERNEL_SUITES.includes(suite)) {
    throw new LabError(`HOLDFAST_LAB_KERNEL=${suite}: it must be one of ${KERNEL_SUITES.join(', ')}`);
  }
  return suite;
}

/** Needed modules that some suites' kernels were never built with; only the suite that is the default must have all. */
const MAY_LACK: readonly string[] = ['nvme-loop'];

/** Modules that the initramfs loads before all others: those that later kernels have built in. */
const EARLY_MODULES: Readonly<Record<string, readonly string[]>> = {
  bookworm: ['virtio_pci', 'crc32c_generic', 'virtio_console'],
};

/** What decides the content: part of the cache key. */
export const kernelRecipe = (suite: string): string[] => [
  JSON.stringify({ BOOT_MODULES, NEEDED_MODULES, OTHER_MODULES }),
  ...(suite === BACKPORTS ? [] : [suite, ...(EARLY_MODULES[suite] ?? [])]),
];

/**
 * Takes the ELF image out of a compressed kernel image: QEMU starts it directly (PVH), without the decompressor, which is
 * slow in an emulated CPU. Layout: Linux, Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header").
 */
export async function extractVmlinux(bzImage: Buffer): Promise<Buffer> {
  if (bzImage.toString('latin1', 0x202, 0x206) !== 'HdrS') throw new LabError('the kernel image has no boot header');
  const setupSectors = bzImage[0x1f1] === 0 ? 4 : (bzImage[0x1f1] ?? 4);
  const start = (setupSectors + 1) * 512 + bzImage.readUInt32LE(0x248);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c));
  const elf = await decompress(payload);
  if (elf.readUInt32BE(0) !== 0x7f454c46) throw new LabError('the kernel image holds no ELF file');
  return elf;
}

/** The payload is followed by four bytes with the unpacked size, which a strict decompressor would stumble over. */
async function decompress(payload: Buffer): Promise<Buffer> {
  const magic = payload.readUInt32BE(0);
  if (magic === 0xfd377a58) return (await run('xz', ['-dc', '--single-stream'], { input: payload })).stdout;
  if (magic === 0x28b52ffd) return zstdDecompressSync(payload.subarray(0, -4));
  if (magic >>> 16 === 0x1f8b) return gunzipSync(payload.subarray(0, -4));
  if (magic === 0x02214c18) return unlz4(payload);
  throw new LabError(`the kernel image is compressed in an unknown way (0x${magic.toString(16)})`);
}

/** A kernel package, unpacked. */
export interface UnpackedKernel {
  /** "6.12.95+deb12-cloud-amd64" */
  readonly release: string;
  /** The folder it was unpacked into. */
  readonly dir: string;
}

/** Writes the kernel, uncompressed, to `file`. */
export async function writeVmlinux(kernel: UnpackedKernel, file: string): Promise<void> {
  const places = [`boot/vmlinuz-${kernel.release}`, `usr/lib/modules/${kernel.release}/vmlinuz`];
  const found = places.map((place) => path.join(kernel.dir, place)).find((place) => existsSync(place));
  if (found === undefined) throw new LabError(`the kernel package has no ${places.join(' and no ')}`);
  await writeFile(file, await extractVmlinux(await readFile(found)));
}

/**
 * Copies the modules we want, and what they depend on, uncompressed into `root`/lib/modules. Returns the files of the boot
 * modules in the order in which to load them.
 */
export async function installModules(kernel: UnpackedKernel, root: string): Promise<string[]> {
  const { release } = kernel;
  const full = path.join(kernel.dir, 'full');
  await mkdir(path.join(full, 'lib/modules'), { recursive: true });
  const source = modulesFolder(kernel);
  await cp(source, path.join(full, 'lib/modules', release), { recursive: true });
  await run('depmod', ['-b', full, release]);
  const early = await moduleFiles(full, release, EARLY_MODULES[kernelSuite()] ?? [], false);
  const boot = [...new Set([...early, ...(await moduleFiles(full, release, BOOT_MODULES, true))])];
  const mayLack = kernelSuite() === BACKPORTS ? [] : MAY_LACK;
  const needed = await moduleFiles(
    full,
    release,
    NEEDED_MODULES.filter((name) => !mayLack.includes(name)),
    true,
  );
  const others = await moduleFiles(full, release, [...mayLack, ...OTHER_MODULES], false);
  const target = path.join(root, 'lib/modules', release);
  await mkdir(target, { recursive: true });
  for (const name of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order']) {
    await copyFile(path.join(source, name), path.join(target, name));
  }
  const prefix = path.join(full, 'lib/modules', release);
  const installed = new Map<string, string>();
  for (const file of new Set([...boot, ...needed, ...others])) {
    const relative = path.relative(prefix, file);
    await mkdir(path.join(target, path.dirname(relative)), { recursive: true });
    await copyFile(file, path.join(target, relative));
    installed.set(file, path.join(target, relative));
  }
  const packed = [...installed.values()].filter((file) => file.endsWith('.xz'));
  if (packed.length > 0) await run('xz', ['-d', ...packed]);
  await run('depmod', ['-b', root, release]);
  await rm(full, { recursive: true });
  return boot.map((file) => (installed.get(file) ?? file).replace(/\.xz$/, ''));
}

function modulesFolder(kernel: UnpackedKernel): string {
  for (const folder of ['lib/modules', 'usr/lib/modules']) {
    const dir = path.join(kernel.dir, folder);
    if (existsSync(path.join(dir, kernel.release))) return path.join(dir, kernel.release);
  }
  throw new LabError(`the kernel package has no modules for ${kernel.release}`);
}

/** The files of modules and their dependencies, in load order, each once. Built-in ones have none. */
async function moduleFiles(
  dir: string,
  release: string,
  names: readonly string[],
  required: boolean,
): Promise<string[]> {
  const files = new Set<string>();
  for (const name of names) {
    const shown = await run('modprobe', ['-d', dir, '-S', release, '--show-depends', name], { check: false });
    if (shown.code !== 0 && required)
      throw new LabError(`the kernel ${release} has no module ${name}:\n${shown.stderr}`);
    for (const line of shown.stdout.toString().split('\n')) {
      const file = /^insmod (\S+)/.exec(line)?.[1];
      if (file !== undefined) files.add(file);
    }
  }
  return [...files];
}
