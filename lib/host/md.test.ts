import { describe, expect, test } from '@jest/globals';
import { createMd, type AssembleOptions } from './md.ts';
import { SysfsError, type Sysfs } from './sysfs.ts';

const ARRAY: AssembleOptions = {
  name: 'md_hf',
  raidDisks: 1,
  sizeBytes: 16 * 1024 ** 2,
  dataOffsetBytes: 4 * 1024 ** 2,
  bitmapSector: 16,
  bitmapChunkBytes: 64 * 1024,
  resyncStart: 'none',
  members: [{ device: 'dm-1', devNo: '253:1', slot: 0 }],
};

/** A sysfs in which nothing can be read but the kernel's release, and one file answers with an error. */
function refusing(file: string, code: string): { sysfs: Sysfs; written: string[] } {
  const written: string[] = [];
  const sysfs = {
    readAttribute: (path: string) => (path.endsWith('osrelease') ? '7.3.4-amd64' : undefined),
    writeAttribute: async (path: string, value: string) => {
      if (path.endsWith(file)) throw new SysfsError(`writing ${path}: ${code}`, code);
      written.push(`${path} ${value}`);
    },
  } as unknown as Sysfs;
  return { sysfs, written };
}

describe('a kernel without a bitmap for external metadata', () => {
  test('is named, and the array never gets as far as readonly', async () => {
    const { sysfs, written } = refusing('/bitmap/metadata', 'ENOENT');
    await expect(createMd(sysfs).assembleReadOnly(ARRAY)).rejects.toThrow(/^HF501: Linux 7\.3\.4-amd64 /);
    expect(written.filter((line) => line.includes('array_state'))).toEqual([]);
  });
  test('is not what another answer means', async () => {
    const { sysfs } = refusing('/bitmap/metadata', 'EBUSY');
    await expect(createMd(sysfs).assembleReadOnly(ARRAY)).rejects.toThrow(/EBUSY/);
  });
});

describe('an array that is being deleted', () => {
  const sysfs = {
    readAttribute: (path: string) => {
      throw new SysfsError(`reading ${path}: EBUSY`, 'EBUSY');
    },
    listDirectory: () => ['md_hf'],
  } as unknown as Sysfs;

  // Seen on 6.1, right after a stop.
  test('is none', () => {
    expect(createMd(sysfs).readArray('md_hf')).toBeUndefined();
    expect(createMd(sysfs).list('md_')).toEqual([]);
  });
});

describe('a member that is failed', () => {
  const failing = async (slot: string): Promise<string[]> => {
    const written: string[] = [];
    const sysfs = {
      readAttribute: (path: string) => (path.endsWith('/slot') ? slot : undefined),
      writeAttribute: async (path: string, value: string) => {
        written.push(`${path.slice(path.lastIndexOf('/') + 1)} ${value}`);
      },
    } as unknown as Sysfs;
    await createMd(sysfs).failMember('md_hf', 'dm-1');
    return written;
  };

  // Found by the simulation: killed in the middle of adding it, the agent could never let go of it again.
  test('takes back that it is in sync when it has no place yet', async () => {
    expect(await failing('none')).toEqual(['recovery_start 0', 'state faulty']);
    expect(await failing('1')).toEqual(['state faulty']);
  });
});

describe('a member that is added', () => {
  /** Adds one to an array in which the other has that state. @returns what was written, in order */
  const adding = async (state: string): Promise<string[]> => {
    const written: string[] = [];
    const there: Record<string, string> = {
      array_state: 'active',
      'dev-dm-1/state': state,
      'dev-dm-1/slot': '0',
      'dev-dm-2/slot': 'none',
      'dev-dm-2/state': 'spare',
    };
    const sysfs = {
      readAttribute: (path: string) => there[path.replace('/sys/block/md_hf/md/', '')],
      listDirectory: () => ['array_state', 'dev-dm-1', 'dev-dm-2'],
      writeAttribute: async (path: string, value: string) => {
        written.push(`${path.slice(path.lastIndexOf('/') + 1)} ${value}`);
      },
    } as unknown as Sysfs;
    const member = { device: 'dm-2', devNo: '253:2', slot: 1, sizeBytes: 2 ** 20, dataOffsetBytes: 2 ** 22 } as const;
    await createMd(sysfs)
      .addMember('md_hf', { ...member, kind: 'Bitmap' })
      .catch((error: Error) => written.push(error.message));
    return written.slice(written.indexOf('slot 1'));
  };

  // Found by the exhaustive search: a write that had begun without it, and of which no bit told yet, was missed by the copy.
  test('is copied to once every write has ended that began without it', async () => {
    expect(await adding('in_sync')).toEqual(['slot 1', 'suspend_lo 0', 'sync_action idle']);
    expect(await adding('faulty')).toEqual(['slot 1', 'suspend_lo 0', 'sync_action idle']);
  });

  test('stays out while md holds a write because another one has failed', async () => {
    const failed = 'dm-1 has failed while dm-2 was added';
    expect(await adding('in_sync,write_error,want_replacement')).toEqual(['slot 1', 'suspend_lo 0', failed]);
    expect(await adding('faulty,blocked')).toEqual(['slot 1', 'suspend_lo 0', failed]);
  });
});

describe('an array that grows', () => {
  const GIB = 2 ** 30;

  /** An array in memory, and what is written to it in order; the kernel's part is done when the size is written. */
  function fake(start: Record<string, string>): { sysfs: Sysfs; written: string[] } {
    const files = new Map(Object.entries(start));
    const written: string[] = [];
    const sysfs = {
      readAttribute: (path: string) => files.get(path.replace('/sys/block/md_hf/md/', '')),
      listDirectory: () => ['dev-dm-1', 'dev-dm-2', 'array_state'],
      writeAttribute: async (path: string, value: string) => {
        const file = path.replace('/sys/block/md_hf/md/', '');
        written.push(`${file} ${value}`);
        if (file === 'component_size' && files.get('resync_start') === 'none') {
          files.set('resync_start', String(Number(files.get('component_size')) * 2));
        }
        files.set(file, value);
      },
    } as unknown as Sysfs;
    return { sysfs, written };
  }
  const options = { sizeBytes: 4 * GIB, bitmapBytes: 4096, bitmapChunkBytes: 128 * 1024 };
  const kib = String((2 * GIB) / 1024);
  const comparison = ['bitmap_set_bits 16384-32767', 'sync_min 4194304', 'sync_action repair'];

  test('has what is new compared, and says on its members where that is', async () => {
    const { sysfs, written } = fake({
      component_size: kib,
      'dev-dm-1/size': kib,
      'dev-dm-2/size': kib,
      resync_start: 'none',
    });
    await createMd(sysfs).grow('md_hf', options);
    expect(written).toEqual([
      'sync_action frozen',
      'dev-dm-1/size 4194304',
      'dev-dm-2/size 4194304',
      'bitmap/space 8',
      'component_size 4194304',
      ...comparison,
    ]);
  });

  test('and was cut off before the comparison goes on with that', async () => {
    const { sysfs, written } = fake({ component_size: '4194304', resync_start: '4194304' });
    await createMd(sysfs).grow('md_hf', options);
    expect(written).toEqual(['sync_action frozen', ...comparison]);
  });

  test('is let go where there is nothing to compare', async () => {
    const { sysfs, written } = fake({ component_size: '4194304', resync_start: 'none' });
    await createMd(sysfs).grow('md_hf', options);
    expect(written).toEqual(['sync_action frozen', 'sync_action idle']);
  });
});
