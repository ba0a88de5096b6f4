import { describe, expect, test } from '@jest/globals';
import { ExecError, type Exec, type ExecOptions } from './exec.ts';
import { createLvm, LvmError, LvmParseError, parseGroups, parsePhysicals, parseVolumes, type Lvm } from './lvm.ts';

// Recorded with LVM 2.03.16 on Linux 6.12, without udev.
const VGS = `  {
      "report": [
          {
              "vg": [
                  {"vg_name":"hf-main", "vg_tags":"hf.pool=main,holdfast", "vg_extent_size":"4194304", "vg_extent_count":"511", "vg_free_count":"3", "vg_missing_pv_count":"0", "vg_exported":"", "vg_partial":""}
              ]
          }
      ]
  }
`;
const LVS = `  {
      "report": [
          {
              "lv": [
                  {"vg_name":"hf-main", "lv_name":"hf-3e34f1e0-054a-4af0-b6d5-2973deea89ba", "lv_size":"71303168", "lv_tags":"hf.replica=3e34f1e0-054a-4af0-b6d5-2973deea89ba,hf.volume=4eb7d7ce-d9f3-4fba-a9a5-25177d91dd84,holdfast", "lv_layout":"thin,sparse", "pool_lv":"holdfast-pool", "lv_active":"active", "lv_kernel_major":"253", "lv_kernel_minor":"4", "lv_device_open":"open", "data_percent":"0.00", "metadata_percent":"", "lv_metadata_size":"", "lv_health_status":""},
                  {"vg_name":"hf-main", "lv_name":"holdfast-pool", "lv_size":"2113929216", "lv_tags":"holdfast", "lv_layout":"thin,pool", "pool_lv":"", "lv_active":"active", "lv_kernel_major":"253", "lv_kernel_minor":"2", "lv_device_open":"open", "data_percent":"0.00", "metadata_percent":"10.50", "lv_metadata_size":"8388608", "lv_health_status":""},
                  {"vg_name":"hf-main", "lv_name":"idle", "lv_size":"4194304", "lv_tags":"", "lv_layout":"linear", "pool_lv":"", "lv_active":"", "lv_kernel_major":"-1", "lv_kernel_minor":"-1", "lv_device_open":"unknown", "data_percent":"", "metadata_percent":"", "lv_metadata_size":"", "lv_health_status":""}
              ]
          }
      ]
  }
`;
const PVS = `  {
      "report": [
          {
              "pv": [
                  {"pv_name":"/dev/vdc", "vg_name":"hf-main", "pv_in_use":"used"},
                  {"pv_name":"/dev/vdd", "vg_name":"", "pv_in_use":""}
              ]
          }
      ]
  }
`;

describe('reports', () => {
  test('vgs', () => {
    expect(parseGroups(VGS)).toEqual([
      {
        name: 'hf-main',
        tags: ['hf.pool=main', 'holdfast'],
        extentBytes: 4_194_304,
        totalExtents: 511,
        freeExtents: 3,
        missingDevices: 0,
        usable: true,
      },
    ]);
  });

  test('lvs: a thin volume in use, its pool, and a volume that is not active', () => {
    const [volume, pool, idle] = parseVolumes(LVS);
    expect(volume).toMatchObject({ pool: 'holdfast-pool', active: true, devNo: '253:4', open: true, dataPercent: 0 });
    expect(volume?.tags).toContain('hf.replica=3e34f1e0-054a-4af0-b6d5-2973deea89ba');
    expect(pool).toMatchObject({ layout: ['thin', 'pool'], metadataPercent: 10.5, metadataBytes: 8_388_608 });
    expect(idle).toMatchObject({ active: false, devNo: undefined, open: undefined, dataPercent: undefined, tags: [] });
  });

  test('pvs: one in a group, one in none', () => {
    expect(parsePhysicals(PVS)).toEqual([
      { device: '/dev/vdc', group: 'hf-main', inUse: true },
      { device: '/dev/vdd', group: '', inUse: false },
    ]);
  });

  test('nothing at all', () => {
    expect(parseVolumes('{"report":[{"lv":[]}]}')).toEqual([]);
  });

  test.each([['not JSON'], ['{}'], ['{"report":[{"lv":[{"vg_name":"x"}]}]}']])(
    '%s is an error, not an empty list',
    (text) => {
      expect(() => parseVolumes(text)).toThrow(LvmParseError);
    },
  );
});

interface Call {
  readonly line: string;
  readonly options: ExecOptions | undefined;
}

function recorder(): { exec: Exec; calls: Call[] } {
  const calls: Call[] = [];
  const exec: Exec = (command, args, options) => {
    calls.push({ line: [command, ...args].join(' '), options });
    return Promise.resolve({ code: 0, stdout: '{"report":[]}', stderr: '' });
  };
  return { exec, calls };
}

function port(exec: Exec, udev: boolean): Lvm {
  return createLvm({
    exec,
    devices: () => Promise.resolve(['/dev/vdc', '/dev/vdd']),
    udev: () => Promise.resolve(udev),
  });
}

describe('commands', () => {
  test('open the given devices only', async () => {
    const { exec, calls } = recorder();
    await port(exec, true).volumes();
    expect(calls[0]?.line).toContain('--devices /dev/vdc --devices /dev/vdd');
    expect(calls[0]?.options?.env).not.toHaveProperty('DM_DISABLE_UDEV');
  });

  test('never wait for a udev that is not there', async () => {
    const { exec, calls } = recorder();
    await port(exec, false).activate('vg', 'lv');
    expect(calls[0]?.line).toContain('udev_sync=0 udev_rules=0');
    expect(calls[0]?.options?.env).toMatchObject({ DM_DISABLE_UDEV: '1' });
  });

  test('making a group answers no question with yes', async () => {
    const { exec, calls } = recorder();
    await port(exec, true).createGroup('hf-main', ['/dev/vdc'], ['holdfast']);
    expect(calls[0]?.line).toMatch(/^lvm vgcreate .* --addtag holdfast hf-main \/dev\/vdc$/);
    expect(calls[0]?.line).not.toMatch(/--yes|-y\b|--force/);
  });

  test('a refusal is told in the words of LVM', async () => {
    const result = { code: 5, stdout: '', stderr: '  Volume group "x" not found\n  Cannot process volume group x\n' };
    const exec: Exec = () =>
      Promise.reject(new ExecError('lvm lvremove --config very long: exit code 5', 'lvm', result));
    const removal = port(exec, true).remove('x', 'y');
    await expect(removal).rejects.toThrow(LvmError);
    await expect(removal).rejects.toThrow('lvremove: Volume group "x" not found; Cannot process volume group x');
  });
});
