import { LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import type { NvmeConnectOptions } from '../../../lib/host/nvme.ts';
import type { ProgramHandle } from '../scheduler.ts';
import { Counters, errno, type Answer, type BlockDevice, type Request } from './io.ts';
import type { StorageEnd } from './storage.ts';
import type { Refusal, TargetController } from './target.ts';
import type { KernelWorld } from './types.ts';
import { Wire } from './wire.ts';

/** Linux: nvme_core.io_timeout. */
const IO_TIMEOUT_MS = 30_000;
/** nvme-tcp tries a connection with one more SYN, after 1 s, and gives up 2 s later (drivers/nvme/host/tcp.c, tcp_sock_set_syncnt). */
const SYN_MS = [0, 1000] as const;
const SYN_END_MS = 3000;
const RECONNECT_MS = 1000;
/** An admin command without an answer holds a delete up (nvme_shutdown_ctrl). */
const SHUTDOWN_MS = 5000;

interface Command {
  readonly request: Request;
  readonly answer: Answer;
  readonly end: (endMs: number) => void;
  readonly sentMs: number;
}

interface Connection {
  readonly storage: StorageEnd;
  readonly bootId: string;
  readonly controller: TargetController;
  readonly out: Wire;
  readonly back: Wire;
}

/** The block device of a namespace: the head of native multipath, which holds I/O while its only controller reconnects. */
export class NamespaceHead implements BlockDevice {
  readonly counters = new Counters();
  readonly name: string;
  readonly devNo: string;
  sizeBytes: number;
  readonly nqn: string;
  /** Undefined once the controller is gone: then every request fails. */
  controller: HostController | undefined;
  /** Requests that wait for the controller to be live again (nvme_mpath: requeue_list). */
  private readonly held: { readonly request: Request; readonly answer: Answer }[] = [];

  constructor(name: string, devNo: string, sizeBytes: number, controller: HostController) {
    this.name = name;
    this.devNo = devNo;
    this.sizeBytes = sizeBytes;
    this.nqn = controller.options.nqn;
    this.controller = controller;
  }

  submit(request: Request, answer: Answer): void {
    const { controller } = this;
    if (!controller || controller.failsFast) answer('path');
    else if (controller.state === 'live') controller.send(request, answer, this.counters);
    else this.held.push({ request, answer });
  }

  hold(request: Request, answer: Answer): void {
    this.held.push({ request, answer });
  }

  /** Tries again what waits: to a live controller, or to its end. */
  kick(): void {
    for (const { request, answer } of this.held.splice(0)) this.submit(request, answer);
  }
}

/** A controller of this host (drivers/nvme/host: fabrics.c, tcp.c, core.c, multipath.c). */
export class HostController {
  readonly name: string;
  readonly options: NvmeConnectOptions;
  state: 'new' | 'live' | 'connecting' | 'deleting' = 'new';
  failsFast = false;
  head: NamespaceHead | undefined;
  private readonly host: NvmeHostKernel;
  private connection: Connection | undefined;
  private readonly inFlight = new Set<Command>();
  private silentSinceMs: number | undefined;
  private timers: (() => void)[] = [];

  constructor(name: string, options: NvmeConnectOptions, host: NvmeHostKernel) {
    this.name = name;
    this.options = options;
    this.host = host;
  }

  private after(ms: number, label: string, run: () => void): void {
    this.timers.push(this.host.world.after(this.host.boot, ms, label, run));
  }

  private cancelTimers(): void {
    for (const cancel of this.timers.splice(0)) cancel();
  }

  /** The first connect, or one of the reconnects. */
  tryConnect(done: (refusal: Refusal | 'ETIMEDOUT' | undefined) => void): void {
    const { world, machine } = this.host;
    const { address, port } = this.options;
    for (const ms of SYN_MS) {
      this.after(ms, 'connect', () => {
        const storage = this.host.storageAt(address);
        if (!storage?.on) return;
        if (!world.network.reachable(machine, storage.machine) || !world.network.reachable(storage.machine, machine))
          return;
        this.cancelTimers();
        this.after(2 * world.network.delayMs(machine, storage.machine), 'connected', () =>
          done(this.shakeHands(storage, port)),
        );
      });
    }
    this.after(SYN_END_MS, 'connect timed out', () => {
      this.cancelTimers();
      done('ETIMEDOUT');
    });
  }

  private shakeHands(storage: StorageEnd, port: number): Refusal | 'ETIMEDOUT' | undefined {
    const { world, machine, boot } = this.host;
    if (!storage.on) return 'ETIMEDOUT';
    const { nqn, hostNqn, address, keepAliveSeconds } = this.options;
    const back = new Wire(world, storage.machine, machine, () => boot);
    const controller = storage.target.connect(
      { ip: address, port },
      {
        nqn,
        hostNqn,
        keepAliveMs: keepAliveSeconds * 1000,
        onClosed: () => back.send('closed by the target', () => this.recover(controller)),
      },
    );
    if (typeof controller === 'string') return controller;
    const out = new Wire(world, machine, storage.machine, () => storage.boot);
    this.connection = { storage, bootId: storage.bootId, controller, out, back };
    this.state = 'live';
    this.failsFast = false;
    this.silentSinceMs = undefined;
    this.keepAlive();
    this.scan();
    return undefined;
  }

  /** `rescan_controller`: soon, if it is live. */
  rescan(): void {
    this.after(1 + 20 * this.host.world.fraction(), 'rescan', () => {
      if (this.state === 'live') this.scan();
    });
  }

  /** Looks which namespace the subsystem has (nvme_scan_ns_list). */
  private scan(): void {
    const sizeBytes = this.connection?.storage.namespaceBytes(this.options.nqn);
    if (sizeBytes === undefined || sizeBytes < LEG_HEADER_BYTES) {
      this.host.removeHead(this);
      return;
    }
    if (this.head) this.head.sizeBytes = sizeBytes;
    else this.head = this.host.addHead(this, sizeBytes);
    this.head.kick();
  }

  /** Every half keep-alive time; two in a row without an answer, and the connection counts as lost. */
  private keepAlive(): void {
    const kato = this.options.keepAliveSeconds * 1000;
    this.after(kato / 2, 'keep-alive', () => {
      const { connection } = this;
      if (this.state !== 'live' || !connection) return;
      const { world, machine } = this.host;
      const { storage, controller } = connection;
      const nowMs = world.now();
      let answered = false;
      if (storage.on && world.network.reachable(machine, storage.machine)) {
        const known = storage.bootId === connection.bootId && storage.target.hears(controller);
        answered = world.network.reachable(storage.machine, machine);
        // A machine that knows nothing of the connection resets it.
        if (answered && !known) return this.recover(controller);
      }
      this.silentSinceMs = answered ? undefined : (this.silentSinceMs ?? nowMs);
      const oldest = this.inFlight.values().next().value;
      const isLost = this.silentSinceMs !== undefined && nowMs - this.silentSinceMs >= kato;
      if (isLost || (oldest && nowMs - oldest.sentMs > IO_TIMEOUT_MS)) return this.recover(controller);
      this.keepAlive();
    });
  }

  send(request: Request, answer: Answer, counters: Counters): void {
    const { connection } = this;
    const { world } = this.host;
    if (!connection) return answer('path');
    const { storage, controller, out, back, bootId } = connection;
    const command = { request, answer, end: counters.begin(request, world.now()), sentMs: world.now() };
    this.inFlight.add(command);
    out.send('command', () => {
      if (!storage.on || storage.bootId !== bootId) return;
      if (!storage.target.hears(controller)) return back.send('reset', () => this.recover(controller));
      storage.target.execute(controller, request, (status, values) => {
        // What a target has cut off gets no answer.
        if (!controller.alive) return;
        back.send('answer', () => {
          if (!this.inFlight.delete(command)) return;
          command.end(world.now());
          answer(status, values);
        });
      });
    });
  }

  /** The connection is lost: commands move back to the head, and the controller reconnects for ever (ctrl_loss_tmo=-1). */
  private recover(controller: TargetController | Refusal): void {
    if (this.state !== 'live' || this.connection?.controller !== controller) return;
    this.disconnect();
    this.state = 'connecting';
    this.cancelTimers();
    this.failFastLater();
    this.release();
    this.reconnectLater();
  }

  private failFastLater(): void {
    this.host.world.after(this.host.boot, this.options.fastIoFailSeconds * 1000, 'fast_io_fail', () => {
      if (this.state !== 'connecting') return;
      this.failsFast = true;
      this.head?.kick();
    });
  }

  private disconnect(): void {
    if (!this.connection) return;
    const { storage, controller, out, back, bootId } = this.connection;
    this.connection = undefined;
    out.close();
    back.close();
    // The end of the connection is told to the target if it can be.
    const { world, machine } = this.host;
    if (storage.on && storage.bootId === bootId && world.network.reachable(machine, storage.machine)) {
      if (controller.alive) storage.target.close(controller);
    }
  }

  /** Takes commands back that have no answer. */
  private release(): void {
    const nowMs = this.host.world.now();
    const commands = [...this.inFlight];
    this.inFlight.clear();
    for (const { request, answer, end } of commands) {
      end(nowMs);
      if (this.head && this.state === 'connecting') this.head.hold(request, answer);
      else answer('path');
    }
  }

  private reconnectLater(): void {
    this.after(RECONNECT_MS, 'reconnect', () => {
      if (this.state !== 'connecting') return;
      this.tryConnect((refusal) => {
        if (this.state !== 'connecting' && this.state !== 'live') return;
        // A refusal that says "do not retry" (nvmf_should_reconnect, Linux 6.10 and later).
        if (refusal === 'refused') this.remove();
        else if (refusal !== undefined) this.reconnectLater();
      });
    });
  }

  /** Everything of it goes; its I/O fails. @returns how long an orderly end takes */
  remove(): void {
    if (this.state === 'deleting') return;
    this.state = 'deleting';
    this.cancelTimers();
    this.failsFast = true;
    this.host.removeHead(this);
    this.disconnect();
    this.release();
    this.host.forget(this);
  }

  /** `delete_controller`: a live one takes leave of its target first. */
  delete(done: () => void): void {
    const { world, machine } = this.host;
    const { connection } = this;
    const reaches =
      connection?.storage.on === true &&
      world.network.reachable(machine, connection.storage.machine) &&
      world.network.reachable(connection.storage.machine, machine);
    const ms = this.state !== 'live' || reaches ? 1 + 20 * world.fraction() : SHUTDOWN_MS * world.fraction();
    this.host.removeHead(this);
    if (this.state !== 'deleting') this.host.leaving.add(this);
    this.head = undefined;
    this.failsFast = true;
    this.release();
    world.after(this.host.boot, ms, 'delete controller', () => {
      this.remove();
      done();
    });
  }
}

/** All controllers and namespaces of a host. */
export class NvmeHostKernel {
  readonly world: KernelWorld;
  readonly machine: string;
  readonly boot: ProgramHandle;
  readonly controllers = new Map<string, HostController>();
  readonly heads = new Map<string, NamespaceHead>();
  /** Being deleted, and still to be seen. */
  readonly leaving = new Set<HostController>();
  private minors = 0;
  private made = -1;

  constructor(world: KernelWorld, machine: string, boot: ProgramHandle) {
    this.world = world;
    this.machine = machine;
    this.boot = boot;
  }

  storageAt(ip: string): StorageEnd | undefined {
    return this.world.network.storageAt(ip) as StorageEnd | undefined;
  }

  answersTcp(address: string, port: number): boolean {
    const storage = this.storageAt(address);
    if (!storage?.on) return false;
    const { network } = this.world;
    return (
      network.reachable(this.machine, storage.machine) &&
      network.reachable(storage.machine, this.machine) &&
      storage.target.listens(address, port)
    );
  }

  connect(options: NvmeConnectOptions): Promise<string> {
    const { nqn, hostNqn, address, port } = options;
    const same = [...this.controllers.values()].some(
      (each) =>
        each.state !== 'deleting' &&
        !this.leaving.has(each) &&
        each.options.nqn === nqn &&
        each.options.hostNqn === hostNqn &&
        each.options.address === address &&
        each.options.port === port,
    );
    if (same) throw errno('EALREADY', 'connect');
    // A number is free again when nobody holds anything of it; here it is never used twice.
    const controller = new HostController(`nvme${(this.made += 1)}`, options, this);
    // It has its name from the beginning, but is nowhere to be seen before it is live.
    this.controllers.set(controller.name, controller);
    return new Promise((resolve, reject) => {
      controller.tryConnect((refusal) => {
        if (refusal === undefined) return resolve(controller.name);
        this.controllers.delete(controller.name);
        reject(errno(refusal === 'refused' ? 'EIO' : refusal, 'connect'));
      });
    });
  }

  addHead(controller: HostController, sizeBytes: number): NamespaceHead {
    const minor = (this.minors += 1);
    const head = new NamespaceHead(`${controller.name}n${minor}`, `259:${minor}`, sizeBytes, controller);
    this.heads.set(head.name, head);
    return head;
  }

  /** The namespace goes: whoever still holds it gets errors. */
  removeHead(controller: HostController): void {
    const { head } = controller;
    if (!head) return;
    this.heads.delete(head.name);
    controller.head = undefined;
    head.controller = undefined;
    head.kick();
  }

  forget(controller: HostController): void {
    this.controllers.delete(controller.name);
    this.leaving.delete(controller);
  }

  byDevNo(devNo: string): NamespaceHead | undefined {
    for (const head of this.heads.values()) if (head.devNo === devNo) return head;
    return undefined;
  }
}
