import { describe, expect, test } from '@jest/globals';
import { countBits } from './execute.ts';
import { pathTimeouts } from './legs.ts';
import { parseMountInfo } from './users.ts';
import { parseSyncCompleted } from '../../../lib/host/md.ts';
import { fabricsOptions } from '../../../lib/host/nvme.ts';
import { parseBlockStat } from '../../../lib/host/sysfs.ts';
import { parseValveStatus, valveTable } from '../../../lib/host/valve.ts';

// The texts are what kernel 6.12 printed.
describe('what the kernel prints', () => {
  test('block statistics', () => {
    const text =
      '     446        0     4820      163       21        3      184       66        1      240      245        2        0      128        4        9       11\n';
    expect(parseBlockStat(text)).toEqual({ completed: 478, ioTimeMs: 244, writtenBytes: 184 * 512, inFlight: 1 });
  });

  test('a valve with a working path and with one that was given up', () => {
    expect(parseValveStatus('0 139264 multipath 2 1 0 0 1 1 E 0 1 0 259:0 A 0 \n')).toMatchObject({
      path: '259:0',
      pathFailed: false,
    });
    expect(parseValveStatus('0 139264 multipath 2 0 0 0 1 1 E 0 1 0 259:3 F 1 \n')).toMatchObject({
      path: '259:3',
      pathFailed: true,
    });
    expect(parseValveStatus('0 139264 linear \n')).toBeUndefined();
  });

  test('the progress of a sync', () => {
    expect(parseSyncCompleted('1024 / 196608')).toEqual({ doneBytes: 524288, totalBytes: 100663296 });
    expect(parseSyncCompleted('none')).toBeUndefined();
    expect(parseSyncCompleted('delayed')).toBeUndefined();
  });

  test('mounts, with escaped spaces', () => {
    const text = '61 26 9:512 / /mnt/my\\040data rw,relatime shared:30 - ext4 /dev/md_hf_1 rw\n';
    expect(parseMountInfo(text)).toEqual([{ devNo: '9:512', mountPoint: '/mnt/my data' }]);
  });
});

describe('what the kernel is told', () => {
  test('a valve holds I/O when its path is gone, and is bio based', () => {
    expect(valveTable(1048576, '259:0')).toBe(
      '0 2048 multipath 3 queue_if_no_path queue_mode bio 0 1 1 round-robin 0 1 1 259:0 1',
    );
  });

  test('a controller never gives up by itself', () => {
    const options = { nqn: 'n', address: '10.0.0.1', port: 4420, hostNqn: 'h', hostId: 'i', ...pathTimeouts(3000) };
    expect(fabricsOptions(options)).toContain('ctrl_loss_tmo=-1,reconnect_delay=1,keep_alive_tmo=1,fast_io_fail_tmo=1');
  });

  test('the timeouts of a path stay below legTimeout, in whole seconds', () => {
    expect(pathTimeouts(500)).toEqual({ keepAliveSeconds: 1, fastIoFailSeconds: 1 });
    expect(pathTimeouts(10_000)).toEqual({ keepAliveSeconds: 3, fastIoFailSeconds: 3 });
    expect(pathTimeouts(3_600_000)).toEqual({ keepAliveSeconds: 5, fastIoFailSeconds: 5 });
  });
});

describe('the bitmap', () => {
  test('has one bit a chunk, the lowest first', () => {
    expect(countBits('\u0041\u0000\u0080', 24)).toBe(3);
    expect(countBits('\u00ff', 4)).toBe(4);
    expect(countBits('', 16)).toBe(0);
  });
});
