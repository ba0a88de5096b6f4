/**
 * The API server as one simulated program sees it. A request travels, is carried out in one piece, and its answer travels
 * back; each way it may be lost, and a program that dies in between has asked all the same. A watch tells of changes late,
 * and not at all while the network is cut; it always tells of all of them in the end, as informers of Kubernetes do.
 */
import type { KubeObject } from '../../lib/api/index.ts';
import type { ObjectList, Resource } from '../../lib/kube/client.ts';
import { KubeError } from '../../lib/kube/error.ts';
import type { Informer, InformerOptions } from '../../lib/kube/informer.ts';
import type { ResourceKind } from '../../lib/kube/kinds.ts';
import type { Kube } from '../../lib/kube/kube.ts';
import { selector } from '../../operator/volume/testing/table.ts';
import type { ApiServer } from './api.ts';
import type { Network } from './network.ts';
import { API } from './network.ts';
import type { ProgramHandle, Scheduler } from './scheduler.ts';

/** How the API server does at the moment. */
export interface ApiHealth {
  /** It refuses connections. */
  down: boolean;
  /** Requests take this many times as long. */
  slowness: number;
  /** Watches lag by up to this long. */
  watchLagMs: number;
  /** One answer in so many is lost after its request was carried out; 0 for none. */
  lostAnswers: number;
}

export interface KubeWorld {
  readonly scheduler: Scheduler;
  readonly api: ApiServer;
  readonly network: Network;
  readonly health: ApiHealth;
  /** Told when a program has an answer to a request. */
  readonly onAnswer?: (program: string, label: string) => void;
}

const TIMEOUT_MS = 10_000;

/** @param place the machine that the program runs on */
export function kubeFor(world: KubeWorld, program: ProgramHandle, place: string): Kube {
  const { scheduler, api, network, health } = world;
  const { dice } = scheduler;
  const travelMs = (): number =>
    (dice.oneIn(40) ? 20 + dice.integer(200) : 0.5 + 4 * dice.fraction()) * health.slowness;

  const request = <R>(label: string, carryOut: () => R, timeoutMs = TIMEOUT_MS): Promise<R> =>
    new Promise<R>((resolve, reject) => {
      if (!program.alive) return;
      const deadlineMs = scheduler.now() + timeoutMs;
      const fail = (reason: string, atMs: number): void => {
        const say = (): void => reject(new KubeError(0, reason, `${label}: no answer from the API server`));
        scheduler.after(program, atMs - scheduler.now(), `${label} unanswered`, say);
      };
      const thereMs = travelMs();
      // The sender gives up in its time, and the request arrives all the same.
      if (thereMs > timeoutMs) fail('Timeout', deadlineMs);
      // Not the program's event: what is on its way arrives, whether its sender lives or not.
      scheduler.after(undefined, thereMs, label, () => {
        if (health.down && network.reachable(place, API)) return fail('ConnectionFailed', scheduler.now() + 1);
        if (!network.reachable(place, API)) return fail('Timeout', deadlineMs);
        let settle: () => void;
        try {
          const result = carryOut();
          settle = () => resolve(result);
        } catch (error) {
          settle = () => reject(error instanceof Error ? error : new Error(String(error)));
        }
        scheduler.onTurn(program, label);
        const backMs = travelMs();
        const lost = health.lostAnswers > 0 && dice.oneIn(health.lostAnswers);
        if (lost || scheduler.now() + backMs > deadlineMs) return fail('Timeout', deadlineMs);
        scheduler.after(program, backMs, `${label} answered`, () => {
          if (network.reachable(API, place)) {
            world.onAnswer?.(program.name, label);
            settle();
          } else fail('Timeout', deadlineMs);
        });
      });
    });

  const resource = <T extends KubeObject>(kind: ResourceKind<T>): Resource<T> => {
    const table = api.table(kind);
    const label = (verb: string, name: string): string => `${program.name} ${verb} ${kind.kind} ${name}`;
    return {
      get: (name, options) => request(label('get', name), () => table.rows.get(name), options?.timeoutMs),
      list: (options = {}) =>
        request(label('list', options.fieldSelector ?? ''), (): ObjectList<T> => ({
          items: table.list(options.fieldSelector),
          resourceVersion: '0',
        })),
      create: (object, options) =>
        request(label('create', object.metadata.name), () => table.create(object), options?.timeoutMs),
      patch: (name, patch, options) =>
        request(label('patch', name), () => table.patch(name, patch, options?.subresource), options?.timeoutMs),
      apply: (object, options) => {
        const name = object.metadata?.name ?? '';
        if (options.subresource !== 'status')
          throw new Error('the simulation knows server-side apply of a status only');
        return request(label('apply', name), () =>
          table.applyStatus(name, (object as { readonly status?: object }).status ?? {}),
        );
      },
      replace: (object, options) =>
        request(label('replace', object.metadata.name), () => table.replace(object), options?.timeoutMs),
      delete: (name, preconditions) => request(label('delete', name), () => table.delete(name, preconditions)),
    };
  };

  return {
    resource,
    informer: (kind, options) => createInformer(world, program, place, kind, options),
  };
}

const REWATCH_MS = 500;

function createInformer<T extends KubeObject>(
  world: KubeWorld,
  program: ProgramHandle,
  place: string,
  kind: ResourceKind<T>,
  options: InformerOptions<T>,
): Informer<T> {
  const { scheduler, api, network, health } = world;
  const { dice } = scheduler;
  const rows = new Map<string, T>();
  const matches = selector(options.fieldSelector ?? '');
  const changes = api.changes(kind);
  const first = Promise.withResolvers<void>();
  let position: number | undefined;
  let pending = false;
  let unwatch: (() => void) | undefined;

  const tell = (object: T | undefined, name: string): void => {
    const previous = rows.get(name);
    if (object !== undefined && matches(object)) {
      if (previous === object) return;
      if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) tell(undefined, name);
      rows.set(name, object);
      options.onChange?.(object, rows.has(name) ? previous : undefined, false);
    } else if (previous !== undefined) {
      rows.delete(name);
      options.onChange?.(previous, previous, true);
    }
  };

  const lagMs = (): number => {
    const usual = dice.oneIn(30) ? dice.integer(400) : 1 + 5 * dice.fraction();
    return health.watchLagMs > 0 && dice.integer(2) === 0 ? dice.integer(health.watchLagMs) : usual;
  };
  const schedule = (ms: number): void => {
    if (pending) return;
    pending = true;
    scheduler.after(program, ms, `${program.name} watches ${kind.kind}`, deliver);
  };
  const deliver = (): void => {
    pending = false;
    if (health.down || !network.reachable(API, place) || !network.reachable(place, API)) return schedule(REWATCH_MS);
    if (position === undefined) {
      position = changes.length;
      for (const row of api.table(kind).rows.values()) tell(row, row.metadata.name);
      first.resolve();
    }
    for (; position < changes.length; position += 1) {
      const change = changes[position];
      if (change !== undefined) tell(change.after as T | undefined, change.name);
    }
  };

  return {
    start: () => {
      unwatch = api.watch(kind, ({ before, after }) => {
        if (!program.alive) return unwatch?.();
        const concerns = (before !== undefined && matches(before)) || (after !== undefined && matches(after));
        if (concerns && position !== undefined) schedule(lagMs());
      });
      schedule(lagMs());
    },
    stop: () => {
      unwatch?.();
      return Promise.resolve();
    },
    synced: () => first.promise,
    get: (name) => rows.get(name),
    list: () => [...rows.values()],
    byIndex: (index, value) => [...rows.values()].filter((row) => options.indexes?.[index]?.(row).includes(value)),
  };
}
