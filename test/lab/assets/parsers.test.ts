import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { parseMirror, sourceLine } from './debian.ts';
import { extractVmlinux } from './kernel.ts';
import { parseQemuVersion } from './qemu.ts';
import { buildTools, missingPackages, parseOsRelease, requireTools } from './tools.ts';
import { silent } from '../progress.ts';

describe('the mirror', () => {
  test.each([
    [
      'deb822, security first',
      'Types: deb\nURIs: http://security.example/debian-security\nSuites: bookworm-security\n\nTypes: deb\n# URIs: http://no.example/\nURIs:  https://mirror.example/debian http://two.example/debian\n',
      'https://mirror.example/debian',
    ],
    ['one line', 'deb http://mirror.example/debian bookworm main\n', 'http://mirror.example/debian'],
    [
      'one line with options',
      'deb [signed-by=/k arch=amd64] http://mirror.example/debian bookworm main',
      'http://mirror.example/debian',
    ],
    ['a comment', '# deb http://mirror.example/debian bookworm main\n', undefined],
    ['a disc', 'deb cdrom:[Debian]/ bookworm main\n', undefined],
    ['nothing', '', undefined],
  ])('%s', (_name, text, mirror) => {
    expect(parseMirror(text)).toBe(mirror);
  });

  test('packages are only taken with a signature of Debian', () => {
    expect(sourceLine('http://m', 'bookworm')).toBe(
      'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m bookworm main',
    );
  });
});

test('the distribution', () => {
  const text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n';
  expect(parseOsRelease(text)).toEqual({ id: 'debian', codename: 'bookworm' });
  expect(parseOsRelease('ID="fedora"\n')).toEqual({ id: 'fedora', codename: '' });
  expect(parseOsRelease('')).toEqual({ id: '', codename: '' });
});

test('the version of QEMU', () => {
  expect(parseQemuVersion('QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright')).toEqual({
    version: '10.0.2',
    major: 10,
  });
  expect(parseQemuVersion('QEMU emulator version 7.2.17')?.major).toBe(7);
  expect(parseQemuVersion('something else')).toBeUndefined();
});

describe('tools', () => {
  test('missing ones are told by package, each once', () => {
    const there = new Set(['apt-get', 'xz']);
    expect(missingPackages(buildTools, (program) => (there.has(program) ? program : undefined))).toEqual([
      'dpkg',
      'mmdebstrap',
      'erofs-utils',
      'cpio',
      'kmod',
    ]);
  });

  test('nothing happens when all are there', async () => {
    await expect(requireTools([{ program: 'sh', package: 'dash' }], silent)).resolves.toBeUndefined();
  });
});

/** A boot image with four sectors of setup code and the payload a little behind them. */
function image(payload: Buffer): Buffer {
  const head = Buffer.alloc(5 * 512 + 100);
  head[0x1f1] = 4;
  head.write('HdrS', 0x202);
  head.writeUInt32LE(100, 0x248);
  head.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([head, payload, Buffer.alloc(300)]);
}

describe('the kernel image', () => {
  const elf = Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46]), Buffer.alloc(5000, 1)]);

  test.each([
    ['gzip', (data: Buffer) => gzipSync(data)],
    ['zstd', (data: Buffer) => zstdCompressSync(data)],
  ])('%s', async (_name, compress) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(elf.length);
    expect((await extractVmlinux(image(Buffer.concat([compress(elf), size])))).equals(elf)).toBe(true);
  });

  test('anything else is refused with a reason', async () => {
    await expect(extractVmlinux(Buffer.alloc(4096))).rejects.toThrow('no boot header');
    await expect(extractVmlinux(image(Buffer.from('plain text')))).rejects.toThrow('unknown way');
    await expect(
      extractVmlinux(image(Buffer.concat([gzipSync(Buffer.from('no elf')), Buffer.alloc(4)]))),
    ).rejects.toThrow('no ELF');
  });
});
