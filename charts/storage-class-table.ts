import type { Schema } from '../lib/api/crd.ts';
import { schemas } from '../lib/api/generated/schemas.ts';
import { parameterTable, type Parameter } from '../csi-driver/controller/parameter-table.ts';

const BEGIN = '<!-- The table below is made by generate.ts of csi-driver/controller/parameter-table.ts. -->';
const END = '<!-- End of the table. -->';

/** The page with the table of all parameters between its two marks. @throws Error when a mark is missing */
export function withParameterTable(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the page lacks "${BEGIN}" or, after it, "${END}"`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${table()}\n\n${page.slice(end)}`;
}

function table(): string {
  const rows = parameterTable.map(
    (parameter: Parameter) =>
      `| \`${parameter.name}\` | ${defaultOf(parameter)} | ${code(parameter.example)} | ${parameter.mutable === true ? 'yes' : 'no'} | ${parameter.description} |`,
  );
  return [
    '| parameter | default | example | can be changed | what it means |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

/** What the CRD says of the field that it sets. */
function defaultOf({ field }: Parameter): string {
  if (field === undefined) return 'none';
  const schema = field
    .split('.')
    .reduce<Schema | undefined>(
      (at, name) => at?.properties?.[name],
      schemas.ReplicatedVolume.properties.spec as Schema,
    );
  const value = schema?.default;
  return typeof value === 'string' || typeof value === 'number' ? code(String(value)) : 'none';
}

/** In a table a bar ends the cell. */
function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}
