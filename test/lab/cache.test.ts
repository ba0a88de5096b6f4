import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { cacheDir, cached, keyOf, lock, requireRoom, type CacheEntry } from './cache.ts';
import { silent } from './progress.ts';

let cache: string;

beforeEach(() => {
  cache = mkdtempSync(path.join(os.tmpdir(), 'holdfast-cache-'));
});

afterEach(() => {
  rmSync(cache, { recursive: true, force: true });
});

function entry(build: CacheEntry['build'], key = keyOf(['1'])): CacheEntry {
  return { kind: 'thing', key, needBytes: 1, build };
}

const writes = (text: string) => async (dir: string) => {
  await Promise.resolve();
  writeFileSync(path.join(dir, 'file'), text);
};

describe('the folder of the cache', () => {
  test.each([
    [{ HOLDFAST_CACHE: '/a', XDG_CACHE_HOME: '/b', HOME: '/c' }, '/a'],
    [{ XDG_CACHE_HOME: '/b', HOME: '/c' }, '/b/holdfast'],
    [{ HOLDFAST_CACHE: '', HOME: '/c' }, '/c/.cache/holdfast'],
    [{ XDG_CACHE_HOME: 'not/absolute', HOME: '/c' }, '/c/.cache/holdfast'],
  ])('%j -> %s', (env, dir) => {
    expect(cacheDir(env)).toBe(dir);
  });
});

describe('a key', () => {
  test('depends on each part and on where one part ends', () => {
    expect(keyOf(['a', 'b'])).toBe(keyOf(['a', Buffer.from('b')]));
    expect(keyOf(['ab', ''])).not.toBe(keyOf(['a', 'b']));
    expect(keyOf(['a', 'b'])).not.toBe(keyOf(['b', 'a']));
    expect(keyOf([])).toMatch(/^[0-9a-f]{16}$/);
  });
});

describe('an entry', () => {
  test('is built once', async () => {
    const first = await cached(cache, entry(writes('first')), silent);
    const second = await cached(cache, entry(writes('second')), silent);
    expect(second).toBe(first);
    expect(readFileSync(path.join(first, 'file'), 'utf8')).toBe('first');
  });

  test('is built once when two ask at the same time: one waits for the other', async () => {
    let builds = 0;
    const slow = entry(async (dir) => {
      builds += 1;
      await new Promise((resolve) => {
        setTimeout(resolve, 200);
      });
      writeFileSync(path.join(dir, 'file'), 'whole');
    });
    const dirs = await Promise.all([cached(cache, slow, silent), cached(cache, slow, silent)]);
    expect(new Set(dirs).size).toBe(1);
    expect(builds).toBe(1);
  });

  test('of a failed build is not there, and neither are its remains', async () => {
    const failing = entry(async (dir) => {
      await writes('half')(dir);
      throw new Error('compiler on fire');
    });
    await expect(cached(cache, failing, silent)).rejects.toThrow('compiler on fire');
    expect(readdirSync(cache)).toEqual(['thing.lock']);
    await cached(cache, entry(writes('whole')), silent);
  });

  test('remains of a killed build are removed, and so are entries that nobody used for weeks', async () => {
    const old = path.join(cache, `thing-${keyOf(['old'])}`);
    for (const dir of [path.join(cache, 'tmp-thing-abc'), old, path.join(cache, 'thing-else')]) mkdirSync(dir);
    utimesSync(old, new Date(0), new Date(0));
    utimesSync(path.join(cache, 'thing-else'), new Date(0), new Date(0));
    const dir = await cached(cache, entry(writes('new')), silent);
    expect(readdirSync(cache).sort()).toEqual([path.basename(dir), 'thing-else', 'thing.lock'].sort());
  });

  test('says when the disk is too full, before it begins', async () => {
    const huge = { ...entry(writes('never')), needBytes: 2 ** 60 };
    await expect(cached(cache, huge, silent)).rejects.toThrow(
      /no room on disk for thing: .* are needed.*HOLDFAST_CACHE/,
    );
    expect(existsSync(path.join(cache, `thing-${huge.key}`))).toBe(false);
    await expect(requireRoom(cache, 1, 'anything')).resolves.toBeUndefined();
  });
});

describe('a lock', () => {
  test('lets one in at a time and says that it waits', async () => {
    const file = path.join(cache, 'lock');
    const release = await lock(file, () => undefined);
    let said = 0;
    let inside = false;
    const second = lock(file, () => {
      said += 1;
    }).then((releaseSecond) => {
      inside = true;
      releaseSecond();
    });
    await new Promise((resolve) => {
      setTimeout(resolve, 1000);
    });
    expect({ said, inside }).toEqual({ said: 1, inside: false });
    release();
    await second;
    expect(inside).toBe(true);
  });
});
