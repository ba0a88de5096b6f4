import { isReplicaNqn, nqnOfValve, ARRAY_PREFIX, VALVE_PREFIX } from '../../../lib/api/names.ts';
import type { Logger } from '../../../lib/log.ts';
import type { AgentPorts } from './ports.ts';

/**
 * Takes away valves, controllers and links that nobody on this node answers for: what an agent that was killed left of
 * replicas that have been replaced, and of volumes that have gone elsewhere. What is below a running array stays, and so do
 * links to one.
 * @param known asked again before each decision, as volumes are attached meanwhile: NVMe names of the legs of all connections of this node, and the paths of their volumes
 */
export async function removeStrays(
  known: () => ReadonlySet<string>,
  { ports, log }: { readonly ports: Pick<AgentPorts, 'md' | 'valves' | 'nvme' | 'links'>; readonly log: Logger },
): Promise<void> {
  const { md, valves, nvme, links } = ports;
  const members = new Set(
    md.list(ARRAY_PREFIX).flatMap((name) => md.readArray(name)?.members.map(({ device }) => device) ?? []),
  );
  const all = [...valves.list(VALVE_PREFIX).values()];
  const held = new Set(all.filter(({ device }) => members.has(device)).map(({ name }) => nqnOfValve(name)));
  const isStray = (nqn: string): boolean => !known().has(nqn) && !held.has(nqn);
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      log.info(`removed a stray ${what}`);
    } catch (error) {
      log.warn(`a stray ${what} could not be removed`, { error: String(error) });
    }
  };
  for (const { name } of all) {
    if (!isStray(nqnOfValve(name))) continue;
    await attempt(`valve ${name}`, async () => {
      await valves.open(name, undefined);
      await valves.remove(name);
    });
  }
  for (const { name, nqn } of nvme.listControllers(isReplicaNqn)) {
    if (isStray(nqn)) await attempt(`controller ${name}`, () => nvme.deleteController(name));
  }
  const running = new Set(md.list(ARRAY_PREFIX).map((name) => `/dev/${name}`));
  for (const path of links.list()) {
    if (!known().has(path) && !running.has(links.read(path) ?? ''))
      await attempt(`link ${path}`, () => links.remove(path));
  }
}
