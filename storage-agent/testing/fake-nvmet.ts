import path from 'node:path';
import type { ConfigFs } from '../../lib/host/nvmet.ts';
import type { Killer } from './crash.ts';

function errno(code: string, at: string): Error {
  return Object.assign(new Error(`${code}: ${at}`), { code });
}

const CONFIG = '/sys/kernel/config';
const ROOT = `${CONFIG}/nvmet`;
const DEBUG = '/sys/kernel/debug';

/** What the kernel makes by itself inside a new folder. */
const CHILDREN: readonly { readonly match: RegExp; readonly dirs: readonly string[]; readonly files: object }[] = [
  {
    match: /\/subsystems\/[^/]+$/,
    dirs: ['namespaces', 'allowed_hosts'],
    files: { attr_allow_any_host: '0', attr_serial: 'random', attr_model: 'Linux' },
  },
  {
    match: /\/namespaces\/\d+$/,
    dirs: [],
    files: { device_path: '(null)', device_uuid: '0', enable: '0', revalidate_size: '' },
  },
  {
    match: /\/ports\/\d+$/,
    dirs: ['subsystems', 'referrals'],
    files: { addr_trtype: '', addr_adrfam: '', addr_traddr: '', addr_trsvcid: '' },
  },
  { match: /\/hosts\/[^/]+$/, dirs: [], files: {} },
];

/** The kernel's NVMe target in memory: configfs with nvmet's own rules, and the controllers of connected hosts. */
export class FakeTarget implements ConfigFs {
  private readonly dirs = new Set<string>();
  private readonly files = new Map<string, string>();
  private readonly links = new Map<string, string>();
  /** Live controllers by subsystem name. */
  readonly controllers = new Map<string, Set<string>>();
  /** Controllers that were told to go and are still on their way out. */
  readonly leaving = new Map<string, Set<string>>();
  /** Open devices by path, with the number of openers. */
  readonly open = new Map<string, number>();
  private readonly killer: Killer;
  private readonly hasDebugfs: boolean;

  constructor(killer: Killer, options: { readonly debugfs: boolean }) {
    this.killer = killer;
    this.hasDebugfs = options.debugfs;
    for (const dir of [CONFIG, ROOT, `${ROOT}/subsystems`, `${ROOT}/ports`, `${ROOT}/hosts`, DEBUG]) this.dirs.add(dir);
  }

  /** A host connects; false when the target refuses it. */
  connect(nqn: string, host: string): boolean {
    const isLinked = [...this.links.keys()].some((at) => at.endsWith(`/subsystems/${nqn}`) && at.includes('/ports/'));
    const isAllowed = this.links.has(`${ROOT}/subsystems/${nqn}/allowed_hosts/${host}`);
    if (!isLinked || !isAllowed) return false;
    this.controllers.set(nqn, (this.controllers.get(nqn) ?? new Set()).add(host));
    return true;
  }

  /** The kernel has freed the controllers that were on their way out. */
  drain(): void {
    this.leaving.clear();
  }

  list(dir: string): Promise<readonly string[] | undefined> {
    if (dir === `${DEBUG}/nvmet` || dir.startsWith(`${DEBUG}/nvmet/`)) return Promise.resolve(this.debugList(dir));
    if (!this.dirs.has(dir)) return Promise.resolve(undefined);
    const all = [...this.dirs, ...this.files.keys(), ...this.links.keys()];
    return Promise.resolve(all.filter((at) => path.dirname(at) === dir).map((at) => path.basename(at)));
  }

  private debugList(dir: string): readonly string[] | undefined {
    if (!this.hasDebugfs) return undefined;
    const standing = [...this.dirs]
      .filter((at) => path.dirname(at) === `${ROOT}/subsystems`)
      .map((at) => path.basename(at));
    const names = [...new Set([...standing, ...this.leaving.keys()])];
    if (dir === `${DEBUG}/nvmet`) return names;
    return names.includes(path.basename(dir)) ? [] : undefined;
  }

  read(file: string): Promise<string | undefined> {
    return Promise.resolve(this.files.get(file));
  }

  write(file: string, value: string): Promise<void> {
    return this.killer.effect(`write ${file}`, () => {
      const old = this.files.get(file);
      if (old === undefined) throw errno('ENOENT', file);
      const dir = path.dirname(file);
      if (path.basename(file).startsWith('addr_') && this.children(`${dir}/subsystems`).length > 0) {
        throw errno('EACCES', file);
      }
      if (path.basename(file) === 'enable' && old !== value)
        this.openDevice(this.files.get(`${dir}/device_path`), value);
      if (path.basename(file) === 'device_path' && this.files.get(`${dir}/enable`) === '1') throw errno('EBUSY', file);
      this.files.set(file, value);
    });
  }

  private openDevice(device: string | undefined, value: string): void {
    if (device === undefined || device === '(null)') throw errno('EINVAL', 'enable');
    this.open.set(device, (this.open.get(device) ?? 0) + (value === '1' ? 1 : -1));
  }

  private children(dir: string): string[] {
    return [...this.dirs, ...this.links.keys()].filter((at) => path.dirname(at) === dir);
  }

  mkdir(dir: string): Promise<void> {
    return this.killer.effect(`mkdir ${dir}`, () => {
      if (this.dirs.has(dir)) return;
      if (!this.dirs.has(path.dirname(dir))) throw errno('ENOENT', dir);
      this.dirs.add(dir);
      for (const { dirs, files } of CHILDREN.filter((each) => each.match.test(dir))) {
        for (const name of dirs) this.dirs.add(`${dir}/${name}`);
        for (const [name, value] of Object.entries(files)) this.files.set(`${dir}/${name}`, String(value));
      }
    });
  }

  rmdir(dir: string): Promise<void> {
    return this.killer.effect(`rmdir ${dir}`, () => {
      if (!this.dirs.has(dir)) return;
      const own = [`${dir}/namespaces`, `${dir}/allowed_hosts`];
      if (own.some((child) => this.children(child).length > 0)) throw errno('ENOTEMPTY', dir);
      if ([...this.links.values()].includes(dir)) throw errno('EBUSY', dir);
      if (this.files.get(`${dir}/enable`) === '1') this.openDevice(this.files.get(`${dir}/device_path`), '0');
      for (const at of this.dirs) if (at === dir || at.startsWith(`${dir}/`)) this.dirs.delete(at);
      for (const at of this.files.keys()) if (at.startsWith(`${dir}/`)) this.files.delete(at);
    });
  }

  async drainNamespace(dir: string): Promise<void> {
    if (!this.dirs.has(dir)) return;
    if (this.files.get(`${dir}/enable`) !== '0') await this.write(`${dir}/enable`, '0');
    await this.rmdir(dir);
  }

  link(target: string, at: string): Promise<void> {
    return this.killer.effect(`link ${at}`, () => {
      if (this.links.has(at)) return;
      if (!this.dirs.has(target) || !this.dirs.has(path.dirname(at))) throw errno('ENOENT', at);
      this.links.set(at, target);
    });
  }

  unlink(at: string): Promise<void> {
    return this.killer.effect(`unlink ${at}`, () => {
      if (!this.links.delete(at) || !at.includes('/ports/')) return;
      // nvmet_port_del_ctrls: the controllers are told to go, which takes a while.
      const nqn = path.basename(at);
      const going = this.controllers.get(nqn);
      if (going === undefined || going.size === 0) return;
      this.controllers.delete(nqn);
      this.leaving.set(nqn, going);
    });
  }
}
