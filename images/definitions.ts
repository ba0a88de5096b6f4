/** One container image: what it holds, and whom its programs run as. */
export interface ImageDefinition {
  /** Last part of the repository's name, and of the files that are written. */
  readonly name: string;
  readonly title: string;
  /** Programs of build.ts. */
  readonly bundles: readonly string[];
  /** Programs that ours call. What else their packages hold is left out. */
  readonly tools: readonly string[];
  /** Other files of the packages that the tools need, relative to the root. */
  readonly files: readonly string[];
  /** Debian packages that hold the tools. Those that their libraries are in follow from these. */
  readonly packages: readonly string[];
  /** "uid:gid" */
  readonly user: string;
}

/** The Debian release that tools and libraries are from: the one that the lab's guests are. */
export const DEBIAN_SUITE = 'bookworm';

/** What is below Node in every image. */
export const BASE_PACKAGES: readonly string[] = ['libc6', 'libstdc++6'];

const control: ImageDefinition = {
  name: 'holdfast',
  title: 'Holdfast: operator, CSI controller and the command holdfast',
  bundles: ['operator', 'csi-driver', 'holdfast'],
  tools: [],
  files: [],
  packages: [],
  user: '65532:65532',
};

const agent: ImageDefinition = {
  name: 'holdfast-agent',
  title: 'Holdfast: the agents of client and storage nodes',
  bundles: ['csi-driver', 'storage-agent', 'holdfast'],
  tools: [
    ['blkdiscard', 'blkid', 'blockdev', 'cmp', 'dd', 'dmsetup', 'fsfreeze', 'lvm', 'modprobe', 'mount', 'umount'],
    ['sh', 'stat', 'sync', 'wipefs'],
    // By scripts of ours.
    ['cat', 'rmdir'],
    // By dmsetup and LVM, where they are told to look into a thin pool.
    ['thin_check', 'thin_delta', 'thin_dump', 'thin_repair', 'thin_restore'],
    ['e2fsck', 'mkfs.ext4', 'resize2fs', 'tune2fs', 'dumpe2fs', 'e2image'],
    // xfs_admin is a script around xfs_db.
    ['mkfs.xfs', 'xfs_admin', 'xfs_db', 'xfs_growfs', 'xfs_io', 'xfs_repair'],
    // For people who look into a pod.
    ['ls', 'lsblk'],
  ].flat(),
  files: ['etc/mke2fs.conf'],
  packages: [
    ['coreutils', 'dash', 'diffutils', 'dmsetup', 'e2fsprogs', 'kmod', 'lvm2', 'mount', 'thin-provisioning-tools'],
    ['util-linux', 'xfsprogs'],
  ].flat(),
  user: '0:0',
};

/** Two images: programs that decide need nothing but Node, programs that act on a node need its tools. */
export const IMAGES: readonly ImageDefinition[] = [control, agent];
