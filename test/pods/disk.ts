import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { IMAGES } from '../../images/definitions.ts';
import { nodeProgram } from '../../images/pick-all.ts';
import { readLock } from '../../images/packages.ts';
import { debianMirror, GUEST_SUITE, privateApt } from '../lab/assets/debian.ts';
import { cached, cacheDir, keyOf } from '../lab/cache.ts';
import { run, startDaemon, tailOfFile, waitFor } from '../lab/process.ts';
import type { Progress } from '../lab/progress.ts';
import { PAUSE, sidecarImages, writeLabImages } from './lab-images.ts';
import { podPrograms, type PodPrograms } from './programs.ts';

/** What makes a plain guest one that runs pods: programs, and a container runtime that has its images already. */
export interface NodeDisk {
  /** An ext4 image. */
  readonly file: string;
  /** What decides its content. */
  readonly key: string;
}

const guestDir = path.join(import.meta.dirname, 'guest');
const DISK_BYTES = 4 * 1024 ** 3;
/** Where a guest mounts it (prepare.sh). */
const MOUNT_POINT = '/kube';
const GUEST_PROGRAMS = ['kubelet'];
const RUNTIME_PROGRAMS = ['containerd', 'containerd-shim-runc-v2', 'ctr'];
const CNI_PROGRAMS = ['ptp', 'host-local'];
/** The container runtime proper. Its libraries that no guest has by itself come with it. */
const DEBIAN_PACKAGES = ['crun', 'libyajl2', 'libseccomp2', 'busybox-static'];

/** The disk: from the cache, else built. */
export async function nodeDisk(progress: Progress): Promise<NodeDisk> {
  const programs = await podPrograms(progress);
  const scripts = await Promise.all(
    (await readdir(guestDir)).sort().map(async (name) => await readFile(path.join(guestDir, name))),
  );
  const key = keyOf([
    '1',
    ...Object.values(programs).map((dir) => path.basename(dir)),
    JSON.stringify([IMAGES, await readLock(), (await nodeProgram()).version, await sidecarImages()]),
    ...scripts,
  ]);
  const dir = await cached(
    cacheDir(),
    {
      kind: 'node-disk',
      key,
      needBytes: 4 * 1024 ** 3,
      build: async (target) => {
        await progress.step('building the disk of nodes that run pods', 60_000, async (note) => {
          await build(target, programs, progress, note);
        });
      },
    },
    progress,
  );
  return { file: path.join(dir, 'disk'), key };
}

async function build(
  target: string,
  programs: PodPrograms,
  progress: Progress,
  note: (text: string) => void,
): Promise<void> {
  const work = path.join(target, 'work');
  const root = path.join(target, 'root');
  for (const folder of ['bin', 'cni', 'lib', 'containerd', 'kubelet']) {
    await mkdir(path.join(root, folder), { recursive: true });
  }
  note('programs');
  const put = async (from: string, to: string): Promise<void> => {
    await copyFile(from, path.join(root, to));
    await chmod(path.join(root, to), 0o755);
  };
  for (const name of GUEST_PROGRAMS) await put(path.join(programs.kubernetes, name), `bin/${name}`);
  for (const name of RUNTIME_PROGRAMS) await put(path.join(programs.containerd, name), `bin/${name}`);
  for (const name of CNI_PROGRAMS) await put(path.join(programs.containerd, name), `cni/${name}`);
  for (const name of await readdir(guestDir)) await put(path.join(guestDir, name), `bin/${name}`);

  const apt = await privateApt(path.join(work, 'apt'), await debianMirror(), [GUEST_SUITE]);
  const debian = path.join(work, 'debian');
  await apt.unpack(DEBIAN_PACKAGES, debian);
  await put(path.join(debian, 'usr/bin/crun'), 'bin/crun');
  const libraries = path.join(debian, 'usr/lib/x86_64-linux-gnu');
  for (const name of await readdir(libraries)) {
    if (name.includes('.so.'))
      await cp(path.join(libraries, name), path.join(root, 'lib', name), { dereference: true });
  }

  note('images');
  const archive = path.join(work, 'images.tar');
  await writeLabImages(path.join(work, 'images'), archive, programs, path.join(debian, 'bin/busybox'), progress);
  await bake(path.join(root, 'containerd'), archive, programs, path.join(work, 'bake'));

  note('file system');
  await mkdir(path.join(root, 'etc'));
  await writeFile(path.join(root, 'etc/containerd.toml'), containerdConfig(`${MOUNT_POINT}/containerd`));
  const file = path.join(target, 'disk');
  await writeFile(file, '');
  await truncate(file, DISK_BYTES);
  const options = ['-q', '-F', '-O', '^has_journal', '-E', 'lazy_itable_init=1,nodiscard', '-L', 'holdfast-kube'];
  await run('mkfs.ext4', [...options, '-d', root, file], { timeoutMs: 300_000 });
  for (const folder of [work, root]) await rm(folder, { recursive: true });
}

/** Imports the images with a containerd of the host's, so that no guest has to unpack them with emulated CPUs. */
async function bake(into: string, archive: string, programs: PodPrograms, work: string): Promise<void> {
  await mkdir(work, { recursive: true });
  const socket = path.join(work, 'containerd.sock');
  const config = path.join(work, 'config.toml');
  const disabled = ['io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.grpc.v1.cri'];
  await writeFile(
    config,
    [
      'version = 3',
      `root = '${into}'`,
      `state = '${path.join(work, 'state')}'`,
      `disabled_plugins = ${JSON.stringify([...disabled, ...UNUSED_PLUGINS])}`,
      `[grpc]`,
      `address = '${socket}'`,
    ].join('\n'),
  );
  // Its mounts are nobody else's.
  const args = [
    '--mount',
    '--',
    path.join(programs.containerd, 'containerd'),
    '--config',
    config,
    '--log-level',
    'warn',
  ];
  const daemon = await startDaemon('containerd', 'unshare', args, { logFile: path.join(work, 'log') });
  try {
    const ctr = async (...words: string[]): Promise<string> =>
      (
        await run(path.join(programs.containerd, 'ctr'), ['--address', socket, '--namespace', 'k8s.io', ...words], {
          timeoutMs: 300_000,
        })
      ).stdout.toString();
    await waitFor(
      'containerd',
      async () => {
        if (daemon.ended() !== undefined) throw new Error(`containerd ended:\n${tailOfFile(daemon.logFile)}`);
        return await ctr('version').catch(() => undefined);
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
    // Without the transfer service, which unpacks only what its own configuration says.
    await ctr('images', 'import', '--local', '--snapshotter', 'overlayfs', archive);
    daemon.signal('SIGTERM');
    await waitFor('the end of containerd', () => daemon.ended(), { timeoutMs: 30_000 });
  } finally {
    await daemon.kill();
  }
}

const UNUSED_PLUGINS = [
  'io.containerd.nri.v1.nri',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.erofs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.snapshotter.v1.native',
  'io.containerd.tracing.processor.v1.otlp',
  'io.containerd.internal.v1.tracing',
];

/** containerd's configuration in a guest: little beside what the kubelet needs, as every poll costs emulated CPU. */
function containerdConfig(root: string): string {
  return [
    'version = 3',
    `root = '${root}'`,
    `state = '/run/containerd'`,
    `disabled_plugins = ${JSON.stringify([...UNUSED_PLUGINS, 'io.containerd.monitor.container.v1.restart'])}`,
    `[plugins.'io.containerd.cri.v1.images']`,
    'stats_collect_period = 300',
    `[plugins.'io.containerd.cri.v1.images'.pinned_images]`,
    `sandbox = '${PAUSE}'`,
    `[plugins.'io.containerd.cri.v1.runtime']`,
    'disable_apparmor = true',
    'enable_criu = false',
    `stats_collect_period = '5m'`,
    `stats_retention_period = '10m'`,
    `[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]`,
    `runtime_type = 'io.containerd.runc.v2'`,
    `[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]`,
    `BinaryName = '${MOUNT_POINT}/bin/oci-runtime'`,
    'SystemdCgroup = false',
    `[plugins.'io.containerd.cri.v1.runtime'.cni]`,
    'use_internal_loopback = true',
    `bin_dirs = ['${MOUNT_POINT}/cni']`,
    `conf_dir = '/etc/cni/net.d'`,
    '',
  ].join('\n');
}
