import { load } from 'js-yaml';

/** A value of a chart: where it is, what it is unless said otherwise, and what it means. */
export interface ChartValue {
  readonly path: string;
  readonly default: unknown;
  readonly meaning: string;
}

/**
 * Reads a chart's values.yaml: each comment that begins with `# --` tells of the key below it, and goes on over the comment
 * lines that follow it.
 *
 * @throws Error for such a comment without a key below it
 */
export function chartValues(text: string): ChartValue[] {
  const tree: unknown = load(text);
  const above: { readonly indent: number; readonly key: string }[] = [];
  const values: ChartValue[] = [];
  let meaning: string[] = [];
  for (const [at, line] of text.split('\n').entries()) {
    const comment = /^ *# ?(-- )?(.*)$/.exec(line);
    if (comment) {
      if (comment[1] !== undefined) meaning = [comment[2] ?? ''];
      else if (meaning.length > 0) meaning.push(comment[2] ?? '');
      continue;
    }
    const key = /^( *)([A-Za-z][\w-]*):/.exec(line);
    if (key) {
      const indent = key[1]?.length ?? 0;
      while ((above.at(-1)?.indent ?? -1) >= indent) above.pop();
      above.push({ indent, key: key[2] ?? '' });
    }
    if (meaning.length === 0) continue;
    if (!key) throw new Error(`line ${at + 1}: "# -- ${meaning[0]}" has no key below it`);
    const path = above.map((each) => each.key);
    values.push({ path: path.join('.'), default: valueAt(tree, path), meaning: meaning.join(' ') });
    meaning = [];
  }
  return values;
}

function valueAt(tree: unknown, path: readonly string[]): unknown {
  return path.reduce((value, key) => (value as Record<string, unknown>)[key], tree);
}

/** The chart's README, made of its values. */
export function chartReadme(valuesYaml: string): string {
  const rows = chartValues(valuesYaml).map(
    ({ path, default: value, meaning }) => `| \`${path}\` | \`${JSON.stringify(value)}\` | ${meaning} |`,
  );
  return [
    '<!-- Generated from values.yaml by generate.ts: do not edit. -->',
    '# The chart holdfast',
    '',
    'Installs Holdfast into a Kubernetes cluster: operator, CSI controller with its sidecars, the agents of client and storage nodes,',
    'permissions, admission policies and StorageClasses. One installation per cluster.',
    '',
    '    helm install holdfast charts/holdfast --namespace holdfast-system --create-namespace \\',
    '      --set image.repository=REGISTRY/holdfast,agentImage.repository=REGISTRY/holdfast-agent',
    '',
    '## Values',
    '',
    '| value | default | what it means |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
