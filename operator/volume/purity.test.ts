import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';

/** What a file imports at run time, with everything that this imports in turn. */
function reached(file: string, seen = new Map<string, string>()): Map<string, string> {
  for (const [, target = ''] of readFileSync(file, 'utf8').matchAll(
    /^(?:import|export) (?!type )[^;]*? from '([^']+)'/gm,
  )) {
    const resolved = target.startsWith('.') ? path.resolve(path.dirname(file), target) : target;
    if (seen.has(resolved)) continue;
    seen.set(resolved, file);
    if (target.startsWith('.')) reached(resolved, seen);
  }
  return seen;
}

test('the planner reaches neither Node, nor a package, nor the Kubernetes client, nor a port', () => {
  const root = path.resolve(import.meta.dirname, '../..');
  const imports = [...reached(path.join(import.meta.dirname, 'plan.ts'))]
    .map(([target, from]) => `${path.relative(root, from)} -> ${target.replace(`${root}/`, '')}`)
    // The names that all programs share include one (the NVMe host identifier) that is a hash.
    .filter((line) => line !== 'lib/api/names.ts -> node:crypto');
  expect(imports.length).toBeGreaterThan(25);
  expect(imports.filter((line) => !/-> (operator\/(volume|placement)|lib\/api)\//.test(line))).toEqual([]);
});
