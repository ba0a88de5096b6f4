/**
 * Generates what is derived: from crds/*.yaml the TypeScript types and schemas in lib/api/generated/ and the reference in
 * docs/reference/crds.md, from the chart's values its README, from the parameters of StorageClasses their admission policy and
 * the table of their reference. `node generate.ts` writes them, `node generate.ts --check` fails when one is not current.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { load } from 'js-yaml';
import { compile, type JSONSchema } from 'json-schema-to-typescript';
import { format } from 'prettier';
import { classPolicies } from './charts/class-policies.ts';
import { withParameterTable } from './charts/storage-class-table.ts';
import { chartReadme } from './charts/values-table.ts';
import { crdReference } from './lib/api/reference.ts';
import type { Crd, Schema } from './lib/api/crd.ts';

const root = import.meta.dirname;
const generatedDir = 'lib/api/generated';
const header = '// Generated from crds/ by generate.ts: do not edit.\n';
const style = { printWidth: 120, singleQuote: true } as const;

const crds = await readCrds();
const outputs = new Map<string, string>();
for (const crd of crds) outputs.set(`${generatedDir}/${fileNameOf(crd)}`, await typesOf(crd));
outputs.set(`${generatedDir}/schemas.ts`, await schemasOf(crds));
outputs.set('docs/reference/crds.md', await format(crdReference(crds), { ...style, parser: 'markdown' }));
const values = await readFile(path.join(root, 'charts/holdfast/values.yaml'), 'utf8');
outputs.set('charts/holdfast/README.md', await format(chartReadme(values), { ...style, parser: 'markdown' }));
const policy = 'charts/holdfast/files/admission/classes.yaml';
outputs.set(policy, await format(classPolicies(), { ...style, parser: 'yaml' }));
const reference = 'docs/reference/storage-class.md';
const page = withParameterTable(await readFile(path.join(root, reference), 'utf8'));
outputs.set(reference, await format(page, { ...style, parser: 'markdown' }));
await finish(outputs, process.argv.includes('--check'));

async function readCrds(): Promise<Crd[]> {
  const names = (await readdir(path.join(root, 'crds'))).filter((name) => name.endsWith('.yaml')).sort();
  // The copy through JSON undoes YAML's aliases: each use of an anchor becomes a schema of its own.
  return await Promise.all(
    names.map(
      async (name) =>
        JSON.parse(JSON.stringify(load(await readFile(path.join(root, 'crds', name), 'utf8')))) as unknown as Crd,
    ),
  );
}

function schemaOf(crd: Crd): Schema {
  const [version, ...others] = crd.spec.versions;
  if (!version || others.length > 0) throw new Error(`${crd.metadata.name}: generate.ts expects exactly one version`);
  return version.schema.openAPIV3Schema;
}

function fileNameOf(crd: Crd): string {
  return `${crd.spec.names.kind.replaceAll(/(?<!^)[A-Z]/g, (letter) => `-${letter}`).toLowerCase()}.ts`;
}

async function typesOf(crd: Crd): Promise<string> {
  const kind = crd.spec.names.kind;
  const schema = schemaOf(crd);
  const { spec, status } = schema.properties ?? {};
  if (!spec || !status) throw new Error(`${kind}: generate.ts expects spec and status`);
  const forTypes = {
    type: 'object',
    description: schema.description,
    required: ['metadata', ...(schema.required ?? [])],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { tsType: 'ObjectMeta' },
      spec: { ...readable(spec), title: `${kind}Spec` },
      status: { ...readable(status), title: `${kind}Status` },
    },
  };
  const text = await compile(forTypes as unknown as JSONSchema, kind, {
    additionalProperties: false,
    ignoreMinAndMaxItems: true,
    bannerComment: `${header}import type { Condition, ObjectMeta } from '../meta.ts';\n`,
    style,
  });
  return text;
}

/**
 * The schema of an object as the API server gives it: a field with a default is always there, conditions have one type
 * everywhere, and an int-or-string is what its name says.
 */
function readable(schema: Schema): Schema & { tsType?: string } {
  if (schema['x-kubernetes-int-or-string'] === true) return { tsType: 'number | string' };
  const { default: _default, properties, items, additionalProperties, ...rest } = schema;
  const defaulted = Object.entries(properties ?? {}).flatMap(([name, field]) => ('default' in field ? [name] : []));
  return {
    ...rest,
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, field]) => [
          name,
          name === 'conditions' ? { tsType: 'Condition[]' } : readable(field),
        ]),
      ),
      required: [...new Set([...(schema.required ?? []), ...defaulted])],
    }),
    ...(items && { items: readable(items) }),
    ...(additionalProperties && { additionalProperties: readable(additionalProperties) }),
  };
}

async function schemasOf(all: readonly Crd[]): Promise<string> {
  const entries = all.map((crd) => `${crd.spec.names.kind}: ${JSON.stringify(schemaOf(crd))}`);
  const text = `${header}import type { Schema } from '../crd.ts';

/** The schemas of the CRDs, as the API server enforces them (without their CEL rules' meaning). */
export const schemas = { ${entries.join(',\n')} } as const satisfies Record<string, Schema>;
`;
  return await format(text, { ...style, parser: 'typescript' });
}

async function finish(files: ReadonlyMap<string, string>, check: boolean): Promise<void> {
  const stale: string[] = [];
  for (const [name, text] of files) {
    const file = path.join(root, name);
    const before = await readFile(file, 'utf8').catch(() => undefined);
    if (before === text) continue;
    stale.push(name);
    if (check) continue;
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  const expected = new Set([...files.keys()].map((name) => path.basename(name)));
  const present = await readdir(path.join(root, generatedDir)).catch(() => []);
  stale.push(...present.filter((name) => !expected.has(name)).map((name) => `${generatedDir}/${name} (has no CRD)`));
  if (stale.length === 0) process.stdout.write('generated files are current\n');
  else if (!check) process.stdout.write(stale.map((name) => `wrote ${name}\n`).join(''));
  else {
    process.stderr.write(`${stale.map((name) => `${name} is not current\n`).join('')}Run "node generate.ts".\n`);
    process.exitCode = 1;
  }
}
