import type { Crd, CrdVersion, Schema } from './crd.ts';

/** The reference page of the API, written from the CRDs themselves. */
export function crdReference(crds: readonly Crd[]): string {
  const links = crds.map(({ spec }) => `- [${spec.names.kind}](#${spec.names.kind.toLowerCase()})`);
  return [
    '# API reference',
    'Generated from `crds/` by `node generate.ts`; edit the CRDs, not this page.',
    links.join('\n'),
    ...crds.map(kindSection),
  ].join('\n\n');
}

function kindSection(crd: Crd): string {
  const { names, group, scope, versions } = crd.spec;
  return versions
    .map((version) => {
      const schema = version.schema.openAPIV3Schema;
      return [
        `## ${names.kind}`,
        schema.description ?? '',
        `\`${group}/${version.name}\`, ${scope === 'Cluster' ? 'cluster-scoped' : 'namespaced'}, \`kubectl get ${(names.shortNames ?? [names.plural]).join('` or `')}\`.`,
        columns(version),
        selectable(version),
        '| field | type | what it is |\n| --- | --- | --- |\n' + rows('', schema).join('\n'),
        rules('', schema).length > 0 ? `Rules:\n\n${rules('', schema).join('\n')}` : '',
      ]
        .filter((part) => part !== '')
        .join('\n\n');
    })
    .join('\n\n');
}

function columns(version: CrdVersion): string {
  const list = (version.additionalPrinterColumns ?? []).map((column) =>
    column.priority === undefined || column.priority === 0 ? column.name : `${column.name} (with \`-o wide\`)`,
  );
  return list.length === 0 ? '' : `Columns: ${list.join(', ')}.`;
}

function selectable(version: CrdVersion): string {
  const list = (version.selectableFields ?? []).map((field) => `\`${field.jsonPath.slice(1)}\``);
  return list.length === 0 ? '' : `Field selectors: ${list.join(', ')}.`;
}

function rows(prefix: string, schema: Schema): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const where = prefix === '' ? name : `${prefix}.${name}`;
    const required = schema.required?.includes(name) === true && !('default' in field) ? ', required' : '';
    const about = [field.description, facts(field)].filter((part) => part !== undefined && part !== '').join(' ');
    const row = `| \`${where}\` | ${typeOf(field)}${required} | ${cell(about)} |`;
    return [row, ...nested(where, field)];
  });
}

function nested(where: string, field: Schema): string[] {
  // Conditions are the same everywhere in Kubernetes.
  if (where.endsWith('.conditions')) return [];
  if (field.items?.properties) return rows(`${where}[]`, field.items);
  if (field.additionalProperties?.properties) return rows(`${where}.<name>`, field.additionalProperties);
  return rows(where, field);
}

function typeOf(field: Schema): string {
  if (field.enum) return field.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (field.items) return `list of ${field.items.type ?? 'value'}s`;
  if (field.additionalProperties) return 'map';
  return field.format ?? field.type ?? '';
}

function facts(field: Schema): string {
  const parts: string[] = [];
  if (field.default !== undefined && !isEmpty(field.default))
    parts.push(`Default \`${JSON.stringify(field.default)}\`.`);
  const { minimum, maximum } = field;
  if (minimum !== undefined && maximum !== undefined) parts.push(`From ${minimum} to ${maximum}.`);
  else if (minimum !== undefined && minimum !== 0) parts.push(`At least ${minimum}.`);
  if (field.pattern !== undefined) parts.push(`Matches \`${field.pattern}\`.`);
  if (field.maxLength !== undefined) parts.push(`At most ${field.maxLength} characters.`);
  if (field.maxItems !== undefined) parts.push(`At most ${field.maxItems} items.`);
  return parts.join(' ');
}

function isEmpty(value: unknown): boolean {
  return value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}

function rules(where: string, schema: Schema): string[] {
  const own = (schema['x-kubernetes-validations'] ?? []).map(
    ({ rule, message }) => `- ${where === '' ? '' : `\`${where}\`: `}${message ?? `\`${rule}\``}`,
  );
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, field]) =>
    rules(where === '' ? name : `${where}.${name}`, field),
  );
  const items = schema.items ? rules(`${where}[]`, schema.items) : [];
  return [...own, ...below, ...items];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
