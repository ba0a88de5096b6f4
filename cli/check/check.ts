import { HoldfastError } from '../../lib/api/index.ts';
import type { Context } from '../context.ts';
import { table } from '../terminal.ts';
import type { Finding } from './findings.ts';
import { checkNode, type NodeFacts } from './node.ts';
import { checkObjects, type Objects } from './objects.ts';

export interface CheckCommand {
  /** The node that this machine is; undefined: the API's objects only. */
  readonly node: string | undefined;
  readonly json: boolean;
}

/** Compares, tells, changes nothing. Gives 0 when all is well, 1 when there are errors, 3 when there are only warnings. */
export async function check(
  context: Context,
  command: CheckCommand,
  lookAtHost: (node: string, isStorageNode: boolean) => Promise<NodeFacts>,
): Promise<number> {
  const objects = await readObjects(context);
  const here = command.node === undefined ? [] : await checkHere(command.node, objects, lookAtHost);
  const findings = [...checkObjects(objects), ...here].toSorted(bySeverity);
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const warnings = findings.length - errors;
  if (command.json) context.out(`${JSON.stringify({ errors, warnings, findings }, null, 2)}\n`);
  else context.out(describe(context, findings, summary(objects, errors, warnings)));
  return errors > 0 ? 1 : warnings > 0 ? 3 : 0;
}

async function readObjects(context: Context): Promise<Objects> {
  const { volumes, replicas, connections, storageNodes, snapshots, copies } = context;
  const [v, r, c, n, s, k] = await Promise.all([
    volumes.list(),
    replicas.list(),
    connections.list(),
    storageNodes.list(),
    snapshots.list(),
    copies.list(),
  ]);
  return {
    volumes: v.items,
    replicas: r.items,
    connections: c.items,
    nodes: n.items,
    snapshots: s.items,
    copies: k.items,
  };
}

async function checkHere(
  node: string,
  objects: Objects,
  lookAtHost: (node: string, isStorageNode: boolean) => Promise<NodeFacts>,
): Promise<Finding[]> {
  const isStorageNode = objects.nodes.some(({ metadata }) => metadata.name === node);
  const isClient = objects.connections.some(({ spec }) => spec.node === node);
  const facts = await lookAtHost(node, isStorageNode);
  const hasAny = facts.exports.length + facts.arrays.length + facts.controllers.length + facts.valves.length > 0;
  if (!isStorageNode && !isClient && !hasAny) {
    const known = objects.nodes.map(({ metadata }) => metadata.name).join(', ');
    throw new HoldfastError(
      'HF600',
      `no storage node or connection has the name "${node}", and this machine has nothing of Holdfast; storage nodes: ${known || 'none'}`,
      { field: '--node' },
    );
  }
  return checkNode(facts, objects);
}

function bySeverity(a: Finding, b: Finding): number {
  if (a.severity !== b.severity) return a.severity === 'error' ? -1 : 1;
  return a.object < b.object ? -1 : a.object > b.object ? 1 : 0;
}

function summary(
  { volumes, replicas, connections, nodes, snapshots }: Objects,
  errors: number,
  warnings: number,
): string {
  const counts = `${volumes.length} volumes, ${replicas.length} replicas, ${connections.length} connections, ${nodes.length} storage nodes, ${snapshots.length} snapshots`;
  return errors + warnings === 0 ? `${counts}: all is well\n` : `${counts}: ${errors} errors, ${warnings} warnings\n`;
}

function describe({ paint }: Context, findings: readonly Finding[], last: string): string {
  if (findings.length === 0) return last;
  const rows = findings.map(({ severity, object, what }) => [
    { text: severity, colour: severity === 'error' ? ('red' as const) : ('yellow' as const) },
    object,
    what,
  ]);
  return `${table(['SEVERITY', 'OBJECT', 'WHAT'], rows, paint)}\n${last}`;
}
