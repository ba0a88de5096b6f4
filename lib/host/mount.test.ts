import { expect, test } from '@jest/globals';
import { mountAt, parseMountInfo } from './mount.ts';

// Recorded on Linux 6.12: a tmpfs root, an XFS filesystem on md, a read-only bind of it, and a device node bound on a file.
const text = `22 1 0:2 / / rw - rootfs rootfs rw,size=100k
24 22 0:6 / /dev rw,relatime shared:2 - devtmpfs devtmpfs rw,size=100k,nr_inodes=25,mode=755
60 22 9:127 / /var/lib/kubelet/plugins/a\\040b/globalmount rw,relatime shared:10 - xfs /dev/md127 rw,attr2,inode64,noquota
61 22 9:127 / /pods/x/mount ro,relatime shared:10 master:3 - xfs /dev/md127 rw,attr2,inode64,noquota
62 22 0:6 /md127 /pods/y/dev rw,relatime - devtmpfs devtmpfs rw,size=100k,nr_inodes=25,mode=755
63 22 9:127 /sub /pods/x/mount rw - xfs /dev/md127 rw
`;

test('reads every line, with escapes, optional fields and none', () => {
  const entries = parseMountInfo(text);
  expect(entries).toHaveLength(6);
  expect(entries[2]).toEqual({
    id: 60,
    device: '9:127',
    root: '/',
    target: '/var/lib/kubelet/plugins/a b/globalmount',
    options: ['rw', 'relatime'],
    fsType: 'xfs',
    source: '/dev/md127',
    superOptions: ['rw', 'attr2', 'inode64', 'noquota'],
  });
  expect(entries[4]).toMatchObject({ root: '/md127', fsType: 'devtmpfs' });
});

test('of several mounts on one path the last is seen', () => {
  expect(mountAt(parseMountInfo(text), '/pods/x/mount')).toMatchObject({ id: 63 });
  expect(mountAt(parseMountInfo(text), '/pods/x')).toBeUndefined();
});

test('a line that is no mount is not passed over', () => {
  expect(() => parseMountInfo('nonsense\n')).toThrow("can't be understood: nonsense");
});
